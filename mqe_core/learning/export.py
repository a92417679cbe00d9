"""A trained run becomes a policy bundle: one ONNX graph from camera bytes to physical actions, proved equal
to the torch network.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from mqe_core.bundle import BundleContract, PolicyBundle, write_bundle
from mqe_core.bundle_contract import ACTION_TOLERANCE, STEPS_TOLERANCE, STEPS_TOLERANCE_FLOOR
from mqe_core.data.episode_store import EpisodeStore
from mqe_core.golden_images import counter_image
from mqe_core.learning.calibration import MIN_EPISODES, Calibration, calibrate
from mqe_core.learning.train import action_scale, load_run
from mqe_core.spec import RobotSpec

OPSET = 18
# image pairs from the data (or of noise, where the data is gone) on which torch and onnxruntime must agree
PARITY_PAIRS = 48
NOISE_PAIRS = 16

logger = logging.getLogger(__name__)


class DeployedPolicy(nn.Module):
    """The agent's policy with the action scale inside: `(B, S, S, 3) uint8` twice → `action (B, 7)` physical,
    `steps_to_goal (B,)`.
    """

    def __init__(self, policy: nn.Module, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.policy = policy
        self.register_buffer("middle", (low + high) / 2)
        self.register_buffer("half_range", (high - low) / 2)

    def forward(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, ...]:
        action, steps_to_goal = self.policy(observation, goal)
        action = self.middle + self.half_range * action
        return (action,) if steps_to_goal is None else (action, steps_to_goal)


def export_run(
    run: str | Path,
    out: str | Path,
    spec: RobotSpec,
    *,
    domain: str | None = None,
    checkpoint: str = "latest",
    data: str | Path | None = None,
    held_out: str | Path | None = None,
) -> PolicyBundle:
    """Export the run folder `run` to the bundle `out`; returns it, opened and checked.

    Args:
        spec: robot that the policy is for.
        domain: what its images show; the training data's where not given.
        checkpoint: "latest" or the name of a kept one, such as "step_00003000".
        data: the store it was trained on, where it has moved; its images serve the parity and golden checks.
        held_out: a store of episodes that no training saw, that of the encoder included; they then serve those checks, and thresholds are
            measured on all of them.

    Raises ValueError where the run cannot become a bundle, RuntimeError where onnxruntime and torch disagree.
    """
    agent, config, metadata = load_run(run, checkpoint)
    observation = metadata["observation"]
    if observation["kind"] == "state":
        raise ValueError(
            f"{run} was trained on {observation['kind']} observations; a policy bundle takes camera images: "
            "train with --observation pixels"
        )
    scale = action_scale(metadata)
    size = observation["image_size"]
    module = DeployedPolicy(agent.policy_module(), torch.from_numpy(scale.low), torch.from_numpy(scale.high)).eval()
    if data is not None and held_out is not None:
        raise ValueError("--data and --held-out both say what to measure on: leave out one")
    store = _open_data(metadata, data) if held_out is None else _open_held_out(metadata, held_out)
    fraction = config.train.validation_fraction if held_out is None else 1.0
    calibration = _calibrate(module, store, metadata, fraction, config.train.seed) if store is not None else None
    contract = BundleContract(
        robot=spec.name,
        agent=metadata["agent"],
        domain=_choose_domain(domain, metadata["data"]["metadata"]["domain"]),
        image_size=size,
        control_hz=float(metadata["data"]["metadata"]["control_hz"]),
        action_low=tuple(scale.low.tolist()),
        action_high=tuple(scale.high.tolist()),
        discount=metadata["discount"],
        data_fingerprint=metadata["data"]["fingerprint"],
        commit=metadata["commit"] or "unknown",
        metrics={
            "step": metadata["step"],
            **last_metrics(Path(run) / "metrics.csv", metadata["step"]),
            **(calibration.metrics if calibration else {}),
        },
        reached_steps=calibration.reached_steps if calibration else None,
        stall_commands=calibration.stall_commands if calibration else None,
    )
    observations, goals = _image_pairs(store, metadata["camera"], size)
    model = to_onnx(module, size)
    # Beside `out` first: a policy that does not fit or is not the trained one neither lies around nor replaces a good one.
    candidate = Path(f"{out}.partial")
    try:
        write_bundle(model, contract, candidate, example=(observations[0], goals[0]))
        assert_parity(module, PolicyBundle.open(candidate, spec), observations, goals)
        candidate.replace(out)
    finally:
        candidate.unlink(missing_ok=True)
    return PolicyBundle.open(out, spec)


def to_onnx(module: nn.Module, size: int) -> onnx.ModelProto:
    """The module as an ONNX graph with a free batch axis, without the paths and traces that the exporter
    leaves in it.
    """
    # Two tensors: given one object twice, the exporter takes observation and goal for the same input.
    example = tuple(
        torch.from_numpy(counter_image(size, number).copy()).expand(2, -1, -1, -1).clone() for number in range(2)
    )
    with torch.no_grad():
        names = ["action", "steps_to_goal"][: len(module(*example))]
    batch = torch.export.Dim("batch", min=1, max=4096)
    chatty = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnx_ir", "onnxscript")}
    for name in chatty:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside torch
            program = torch.onnx.export(
                module,
                example,
                input_names=["observation", "goal"],
                output_names=names,
                dynamic_shapes=({0: batch}, {0: batch}),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        for name, level in chatty.items():
            logging.getLogger(name).setLevel(level)
    model = program.model_proto
    model.doc_string = ""
    graph = model.graph
    del graph.value_info[:], graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    return model


def assert_parity(
    module: nn.Module, bundle: PolicyBundle, observations: np.ndarray, goals: np.ndarray
) -> dict[str, float]:
    """Raise RuntimeError unless onnxruntime answers as torch does; returns the largest error of each output
    over its tolerance.

    Args:
        observations, goals: (n, S, S, 3) uint8 each. Batches of one and of several are compared.

    Tolerances: a thousandth of the action's range per dimension, one per cent of steps_to_goal.
    """
    worst = {"action": 0.0, "steps_to_goal": 0.0}
    for start, stop in [(i, i + 1) for i in range(min(4, len(observations)))] + [
        (i, i + 8) for i in range(0, len(observations), 8)
    ]:
        batch = observations[start:stop], goals[start:stop]
        with torch.no_grad():
            expected = [values.numpy() for values in module(*(torch.from_numpy(images) for images in batch))]
        got = bundle.run(*batch)
        for (name, values), reference in zip(got.items(), expected):
            if name == "action":
                tolerance = bundle.contract.action_tolerance
            else:
                tolerance = np.maximum(STEPS_TOLERANCE * np.abs(reference), STEPS_TOLERANCE_FLOOR)
            error = float((np.abs(values - reference) / tolerance).max())
            worst[name] = max(worst[name], error if np.isfinite(error) else np.inf)
    if max(worst.values()) > 1.0:
        raise RuntimeError(
            f"onnxruntime and torch disagree: action error {worst['action']:.2f}, steps_to_goal error "
            f"{worst['steps_to_goal']:.2f} times the "
            f"tolerance ({ACTION_TOLERANCE:g} of the action range, {STEPS_TOLERANCE:g} of steps_to_goal); "
            "use the pinned torch and onnxruntime"
        )
    logger.info(
        "parity on %d image pairs: largest error over tolerance %s",
        len(observations),
        {k: round(v, 4) for k, v in worst.items()},
    )
    return worst


def _choose_domain(asked: str | None, stated: str) -> str:
    if asked is None or asked == stated:
        return stated
    if stated == "sim":
        raise ValueError(
            "--domain real: the training data says that its images are simulated; a real camera would "
            "mislead the policy"
        )
    # Files of a real robot state no domain and count as real; so do simulated ones that somebody else wrote.
    logger.warning("the training data counts as %s images, the bundle will say %s as asked", stated, asked)
    return asked


def _open_data(metadata: dict[str, Any], data: str | Path | None) -> EpisodeStore | None:
    """The store of the run; None, with a warning, where it is gone. ValueError where `data` is another one."""
    path = Path(data) if data is not None else Path(metadata["data"]["path"])
    if data is None and not path.exists():
        logger.warning(
            "the training data is gone from %s: checking on noise images alone, and measuring no thresholds; --data says where it is now",
            path,
        )
        return None
    store = EpisodeStore.open(path)
    if store.fingerprint != metadata["data"]["fingerprint"]:
        raise ValueError(
            f"{path} is not the data of this run (fingerprint {store.fingerprint}); give the store it was "
            "trained on as --data"
        )
    return store


def _open_held_out(metadata: dict[str, Any], path: str | Path) -> EpisodeStore:
    """The store at `path`. ValueError where it does not fit the run, or holds what the run learned from, as far as its data is still there."""
    store, trained = EpisodeStore.open(path), metadata["data"]
    for name, found, wanted in (
        ("image size", store.image_size, metadata["observation"]["image_size"]),
        ("domain", store.metadata["domain"], trained["metadata"]["domain"]),
        ("rate", store.control_hz, trained["metadata"]["control_hz"]),
    ):
        if found != wanted:
            raise ValueError(
                f"{path} has {name} {found}, the run was trained on {wanted}: import episodes alike for --held-out"
            )
    seen = set(_episode_hashes(EpisodeStore.open(trained["path"]))) if Path(trained["path"]).exists() else set()
    shared = sum(episode in seen for episode in _episode_hashes(store))
    if shared:
        raise ValueError(
            f"{path} shares {shared} episodes with the data of this run, which holds out a part of its own: leave out --held-out"
        )
    return store


def _episode_hashes(store: EpisodeStore) -> list[bytes]:
    """Of each episode's states: names differ with the folder that was imported."""
    return [hashlib.sha256(states.tobytes()).digest() for states in np.split(store.states, store.episode_ends[:-1])]


def _calibrate(
    module: DeployedPolicy, store: EpisodeStore, metadata: dict[str, Any], fraction: float, seed: int
) -> Calibration | None:
    """Thresholds of steps_to_goal, from episodes that training did not see; None without a critic or too few of them."""
    if metadata["discount"] is None:
        return None

    def steps_to_goal(observations: np.ndarray, goals: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(observations), torch.from_numpy(np.ascontiguousarray(goals)))[1].numpy()

    calibration = calibrate(steps_to_goal, store, metadata["camera"], fraction, seed)
    if calibration is None:
        logger.warning(
            "no thresholds for steps_to_goal: fewer than %d episodes are held out; train with validation_fraction, or give more as --held-out",
            MIN_EPISODES,
        )
    elif calibration.reached_steps is None:
        logger.warning(
            "no thresholds for steps_to_goal: on held-out episodes it misses %.0f %% of the frames near the goal and takes %.0f %% of the far ones "
            "for near; the policy will not say that it has arrived",
            *(100.0 * calibration.metrics[f"calibration/reached_{name}"] for name in ("missed", "false")),
        )
    return calibration


def _image_pairs(store: EpisodeStore | None, camera: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, S, S, 3) uint8 observations and goals: frames of the training data with the last frame of their
    episode, and noise.
    """
    noise = np.stack([counter_image(size, 2 + i) for i in range(2 * NOISE_PAIRS)])
    if store is None:
        return noise[:NOISE_PAIRS], noise[NOISE_PAIRS:]
    candidates = np.flatnonzero(store.has_image(camera))
    frames = candidates[np.linspace(0, len(candidates) - 1, min(PARITY_PAIRS, len(candidates))).astype(int)]
    ends = store.episode_ends[np.searchsorted(store.episode_ends, frames, side="right")] - 1
    observations, goals = store.images(frames, camera=camera), store.images(ends, camera=camera)
    return np.concatenate([observations, noise[:NOISE_PAIRS]]), np.concatenate([goals, noise[NOISE_PAIRS:]])


def last_metrics(table: Path, step: int) -> dict[str, float]:
    """The finite values of the last row of `metrics.csv` up to `step`; none where nothing was logged."""
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
    values = {name: float(value) for name, value in (rows[-1].items() if rows else ()) if value and name != "step"}
    return {name: value for name, value in values.items() if np.isfinite(value)}
