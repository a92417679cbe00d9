"""A run folder: what it says of its run, and how it is read again.

config.yaml        every key of the run, with its meaning
metadata.json      what a bundle's contract needs, and where the data came from
checkpoints/       latest.pt, and the kept ones
metrics.csv, tensorboard/
"""

from __future__ import annotations

import dataclasses
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mqe_core.data.frames import Frames
from mqe_core.files.checks import fields, is_count, is_number, is_text, list_of, nullable, wrong_keys
from mqe_core.files.text import read_json_mapping
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.networks.actor import Agent
from mqe_core.learning.networks.flow import FlowConfig
from mqe_core.learning.rows.actions import ActionScale
from mqe_core.learning.rows.frozen_encoder import FrozenEncoder, is_bundle
from mqe_core.learning.rows.observations import ObservationSpec
from mqe_core.learning.run import config as configuration
from mqe_core.learning.run.checkpoint import load_checkpoint, take_weights
from mqe_core.learning.run.run_config import RunConfig, make_config
from mqe_core.learning.run.trainer import Trainer
from mqe_core.policy.bundle import PolicyBundle

METADATA_SCHEMA = 1


def describe_run(store: Frames, data: Path, trainer: Trainer, begin_from: Path | None) -> dict[str, Any]:
    """The metadata of a run folder: what a bundle's contract needs and where the data came from."""
    spec = trainer.data.observations.spec
    return {
        "schema": METADATA_SCHEMA,
        "agent": trainer.config.train.agent,
        "discount": trainer.agent.discount,
        "observation": {"kind": spec.kind, "image_size": spec.image_size, "state_dim": spec.state_dim},
        "camera": trainer.config.train.camera,
        "action_low": trainer.data.action_scale.low.tolist(),
        "action_high": trainer.data.action_scale.high.tolist(),
        "data": {
            "path": str(data.resolve()),
            "fingerprint": store.fingerprint,
            "num_episodes": int(store.num_episodes),
            "num_frames": int(store.num_frames),
            "metadata": {name: value for name, value in store.metadata.items() if name not in ("files", "skipped")},
        },
        "begin_from": None
        if begin_from is None
        else {"path": str(begin_from.resolve()), "data": _fingerprint(begin_from)},
        "commit": _git_commit(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }


def _fingerprint(source: Path) -> str:
    """Of the data that a run or bundle learned on."""
    if is_bundle(str(source)):
        return PolicyBundle.open(source).contract.data_fingerprint
    return read_metadata(source)["data"]["fingerprint"]


def _git_commit() -> str | None:
    """The commit of the code that trains, or None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def read_config(run_dir: Path) -> RunConfig:
    """The configuration of a run folder."""
    path = Path(run_dir) / "config.yaml"
    if not path.is_file():
        raise ValueError(f"{run_dir} is not a run folder: config.yaml is missing")
    values = configuration.read_values(path)
    if not values:
        raise ValueError(f"{path} is empty, expected the configuration of a run: train again")
    try:
        return make_config(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_metadata(run_dir: Path) -> dict[str, Any]:
    """The metadata of a run folder."""
    path = Path(run_dir) / "metadata.json"
    if not path.is_file():
        raise ValueError(f"{run_dir} is not a run folder: metadata.json is missing")
    metadata = read_json_mapping(path)
    if metadata.get("schema") != METADATA_SCHEMA:
        raise ValueError(f"{path} has schema {metadata.get('schema')}, this code reads {METADATA_SCHEMA}: train again")
    _check_metadata(path, metadata)
    metadata.setdefault("begin_from", metadata.pop("init", None))  # "init" up to version 0.1
    return metadata


_RANGE = list_of(is_number)
_METADATA = {
    "agent": is_text,
    "discount": nullable(is_number),
    "observation": fields({"kind": is_text, "image_size": is_count, "state_dim": is_count}),
    "camera": is_count,
    "action_low": _RANGE,
    "action_high": _RANGE,
    "data": fields(
        {
            "path": is_text,
            "fingerprint": is_text,
            # A store's own, or that of another data set, which has neither.
            "metadata": fields({}, {"domain": is_text, "control_hz": is_number, "name": is_text}),
        }
    ),
    "commit": nullable(is_text),
}
_BEGIN_FROM = nullable(fields({"path": is_text}))


def _check_metadata(path: Path, metadata: dict[str, Any]) -> None:
    """ValueError, naming the file, where a key that is read later is missing or of another type."""
    wrong = wrong_keys(metadata, _METADATA, {"begin_from": _BEGIN_FROM, "init": _BEGIN_FROM})
    if not wrong and metadata["observation"].keys() != {field.name for field in dataclasses.fields(ObservationSpec)}:
        wrong = ["observation"]
    if not wrong and not 0 < len(metadata["action_low"]) == len(metadata["action_high"]):
        wrong = ["action_low"]
    if wrong:
        raise ValueError(f"{path}: {', '.join(wrong)} cannot be understood; the run folder is damaged: train again")


def load_run(
    run_dir: str | Path, checkpoint: str = "latest", changes: Mapping[str, Any] | None = None
) -> tuple[Agent, RunConfig, dict[str, Any]]:
    """The trained agent (on the CPU, in evaluation mode), its configuration and metadata.

    ``checkpoint`` is "latest" or the name of a kept one, such as "step_00003000". The metadata gains ``step``, the
    updates done. ``changes``: keys of its configuration that do not change the networks, and what they are to be;
    ValueError where the run has no such key, or it would change nothing.
    """
    run_dir = Path(run_dir)
    config, metadata = read_config(run_dir), read_metadata(run_dir)
    if changes:
        config = _changed(config, changes)
    spec = ObservationSpec(**metadata["observation"])
    agent = AGENTS[config.train.agent][0](config.agent, spec, len(metadata["action_low"]))
    state = load_checkpoint(run_dir / "checkpoints" / f"{checkpoint}.pt")
    take_weights(agent, state["agent"], f"the checkpoint in {run_dir}")
    for parameter, mean in zip(agent.parameters(), state.get("average", ())):  # empty unless average_decay is on
        parameter.data.copy_(mean)
    if spec.kind == "features":
        agent.image_encoder = FrozenEncoder.load(run_dir).encoder
    return agent.eval(), config, {**metadata, "step": state["step"]}


def _changed(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """The configuration with other values of some keys; ValueError for those that do nothing in this run."""
    values, agent = configuration.as_values(config), config.train.agent
    name = next((name for name in changes if name not in values), None)
    if name == "candidates" and isinstance(config.agent, FlowConfig):
        raise ValueError(f"{agent} has no critic that could choose among candidates: leave them out")
    if name is not None or (values["actor"] != "flow" and not values.get("proposal_steps")):
        raise ValueError(
            f"this run of {agent} makes no candidates, so {' and '.join(changes)} would change nothing: leave them "
            "out, or train mqe or gciql with actor: flow, or mqe with proposal_steps"
        )
    return make_config({**values, **changes})


def action_scale(metadata: dict[str, Any]) -> ActionScale:
    """The action scale of a run's metadata."""
    low, high = (np.asarray(metadata[name], dtype=np.float32) for name in ("action_low", "action_high"))
    return ActionScale(low, high)
