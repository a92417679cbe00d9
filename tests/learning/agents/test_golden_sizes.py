"""The comparison with official agents takes files of other sizes: what it loads is what it finds again."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # for golden_agents
import golden_agents
from golden_table import OFFICIAL

from mqe_core.learning.agents import AGENTS
from mqe_core.learning.rows.observations import ObservationSpec
from mqe_core.learning.run.run_config import make_config

GOLDEN = Path(__file__).parents[2] / "golden" / "agents"
SIZES = {16: 6, 5: 7, 3: 1}  # rows, numbers of an observation and of an action: in the files, and here
MEMBERS = 3
OTHERS = {"actor_hidden_dims": [24, 8], "value_hidden_dims": [40], "latent_dim": 48, "rep_dim": 4, "num_qs": MEMBERS}


def official_path(network: str, rest: str, layers: int) -> str:
    """``hidden.1.weight`` -> ``NETWORK/Dense_1/kernel``, and so on."""
    kinds = {"weight": "kernel", "bias": "bias", "gain": "scale"}
    *place, kind = rest.replace("head.", f"hidden.{layers}.").split(".")
    if not place:
        return f"{network}/{kinds[kind]}"
    kind = "scale" if place[0] == "norms" and kind == "weight" else kinds[kind]
    return f"{network}/{'Dense' if place[0] == 'hidden' else 'LayerNorm'}_{place[1]}/{kind}"


def resized(name: str, out: Path) -> Path:
    """A file of the form of the agent's first, with other sizes, random numbers, and zero for every reference."""
    with np.load(GOLDEN / f"{name}_case0.npz") as file:
        arrays = {key: file[key] for key in file.files}
    official, rng = OFFICIAL[name], np.random.default_rng(0)
    config = json.loads(str(arrays["config"])) | {"observation_dim": SIZES[5], "action_dim": SIZES[3]}
    config |= {key: value for key, value in OTHERS.items() if key in config}
    config |= {"representation_dim": 9} if name == "tra" else {}
    made = {"config": np.array(json.dumps(config))}
    for key, value in arrays.items():
        shape = [SIZES.get(size, size) for size in value.shape]
        if key.startswith(("batch/", "extra/")):
            kept = value.ndim < 2  # masks, rewards, steps
            made[key] = np.resize(value, shape) if kept else rng.normal(size=shape).astype(np.float32)
        elif key.startswith("loss/") or key in ("action", "value", "q", "distance", "distance_sa"):
            made[key] = np.zeros([MEMBERS if size == 2 else size for size in shape], np.float32)
    values = golden_agents._our_values(official, config, {})
    if name != "qrl" and "ensemble" in {f.name for f in fields(AGENTS[name][1])}:
        values["ensemble"] = MEMBERS
    spec = ObservationSpec("state", state_dim=SIZES[5])
    agent = AGENTS[name][0](make_config({"agent": name, **values}).agent, spec, SIZES[3])
    parameters = dict(agent.named_parameters())
    networks = sorted(official.networks.items(), key=lambda entry: -len(entry[1]))  # the inner ones first
    for ours_name, parameter in parameters.items():
        found = next(((n, ours) for n, ours in networks if ours_name.startswith(f"{ours}.")), None)
        if found is None:
            continue
        network, ours = found
        layers = len([key for key in parameters if re.fullmatch(rf"{ours}\.hidden\.\d+\.weight", key)])
        path = official_path(network, ours_name.removeprefix(f"{ours}."), layers)
        shape = list(parameter.shape)[::-1] if parameter.ndim < 3 else list(parameter.shape)
        if parameter.ndim == 3 and "weight" not in ours_name:
            del shape[1]
        if parameter.ndim == 3 and shape[0] == 1:
            del shape[0]
        made[f"params/{path}"] = rng.normal(0.0, 0.3, shape).astype(np.float32)
        made[f"grad/{path}"] = np.zeros(shape, np.float32)
        if official.target_name(ours_name):
            made[f"target/{path}"], made[f"after/{path}"] = made[f"params/{path}"], made[f"params/{path}"]
    made |= {f"params/{path}": np.float32(0.1) for path, ours in official.scalars.items() if ours in parameters}
    np.savez(out / f"{name}_other.npz", **made)
    return out / f"{name}_other.npz"


@pytest.mark.parametrize("name", sorted(OFFICIAL))
def test_other_sizes_are_computed(name: str, tmp_path: Path) -> None:
    path = resized(name, tmp_path)
    errors = golden_agents.worst_error(path)
    with np.load(path) as file:
        compared = {k for k in file.files if k.split("/")[0] not in ("config", "batch", "params", "target", "extra")}
    assert errors.keys() == compared and torch.tensor(list(errors.values())).isfinite().all()
    for key, error in errors.items():
        if key.startswith("after/"):  # the copy follows the weights from before the step, which here are its own
            assert error < 1e-6, key
        else:
            assert key.startswith("grad/") or error > 0.0, key
