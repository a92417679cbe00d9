"""What a run's networks cost: their numbers, and the multiplications and time of one answer on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from mqe_core.learning.networks.encoders import ImageEncoder
from mqe_core.learning.run.run_folder import load_run

CALLS = 30
TIME_LIMIT_S = 3.0  # of all calls together


@dataclass(frozen=True)
class RunCost:
    """Of the agent, and of what it would answer with as a policy, to one observation, in torch on one thread."""

    parameters: int  # of everything that learns, and what follows it
    encoder_parameters: int  # of these, in image encoders
    macs: int  # of one answer
    p50_ms: float
    slowest_ms: float
    calls: int


def run_cost(run: Path) -> tuple[RunCost, dict[str, Any]]:
    """The cost, and the run's metadata with ``encoder`` and ``step``. ValueError where ``run`` is no run folder."""
    agent, config, metadata = load_run(run)
    module = agent.policy_module()
    spec = metadata["observation"]
    generator = np.random.default_rng(0)
    drawn: np.ndarray
    if spec["kind"] == "state":
        drawn = generator.normal(size=(2, 1, spec["state_dim"])).astype(np.float32)
    else:
        drawn = generator.integers(0, 256, (2, 1, spec["image_size"], spec["image_size"], 3), dtype=np.uint8)
    pair = [torch.from_numpy(values) for values in drawn]
    threads, counter = torch.get_num_threads(), FlopCounterMode(display=False)
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            with counter:
                module(*pair)
            times = _timed(module, pair)
    finally:
        torch.set_num_threads(threads)
    encoders = {encoder for encoder in agent.modules() if isinstance(encoder, ImageEncoder)}
    own = {parameter: None for encoder in encoders for parameter in encoder.parameters()}
    cost = RunCost(
        sum(parameter.numel() for parameter in agent.parameters()),
        sum(parameter.numel() for parameter in own),
        counter.get_total_flops() // 2,
        1e3 * float(np.median(times)),
        1e3 * max(times),
        len(times),
    )
    return cost, {**metadata, "encoder": config.agent.encoder}


def _timed(module: torch.nn.Module, pair: list[torch.Tensor]) -> list[float]:
    times: list[float] = []
    end = time.monotonic() + TIME_LIMIT_S
    while len(times) < CALLS and (not times or time.monotonic() < end):
        begin = time.perf_counter()
        module(*pair)
        times.append(time.perf_counter() - begin)
    return times
