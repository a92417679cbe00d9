"""How far an agent is from its official implementation, on a file of golden vectors (tests/golden/agents/README.md).

    python tests/learning/golden_agents.py FILE...      # exit code 1 where an error is above its bar

The official parameters enter the whole agent; then come one loss of the same batch, one backward pass and one step.
What is compared is what the file names: the losses, the gradient of every parameter, action, value and target networks.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))  # for golden_official and golden_table
from golden_official import ACTOR_STD, COMMON_FIXED, NAMES, SAMPLING, Official, learned_std
from golden_table import OFFICIAL

from mqe_core.learning.agents import AGENTS
from mqe_core.learning.networks.actor import Agent
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.observations import ObservationSpec
from mqe_core.learning.run.run_config import RunConfig, make_config

BARS = {"grad": 1e-4}  # relative to the largest entry; of all else 1e-5
OTHER_BAR = 1e-5
SMALLEST_SCALE = 1e-3  # of a reference whose entries are all about zero

LAYER = {"kernel": "weight", "bias": "bias"}

Arrays = dict[str, np.ndarray]


def worst_error(path: str | Path) -> dict[str, float]:
    """For each loss, gradient, action, value and target parameter of the file, the largest difference over the largest
    entry of the reference (or 1e-3). ValueError for what is not computed, or stated and not understood.
    """
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    official_config = json.loads(str(arrays["config"]))
    name = NAMES.get(official_config["agent_name"], official_config["agent_name"])
    if name not in OFFICIAL:
        raise ValueError(f"{path}: no agent {name!r}; there are {', '.join(OFFICIAL)}")
    official = OFFICIAL[name]
    torch.manual_seed(0)
    config = make_config({"agent": name, **_our_values(official, official_config, arrays)})
    spec = ObservationSpec("state", state_dim=official_config["observation_dim"])
    agent = AGENTS[name][0](config.agent, spec, official_config["action_dim"])
    names = _parameter_names(official, arrays)
    _load(agent, names, official, arrays)
    batch = official.batch({key: torch.from_numpy(value) for key, value in _under("batch", arrays).items()}, arrays)
    with _injected(agent, official.noise, arrays):
        computed = _compute(agent, config, official, batch, names)
    errors = {}
    for key, reference in arrays.items():
        if key == "config" or key.split("/")[0] in ("batch", "params", "target", "extra", "metric"):
            continue
        if key not in computed:
            raise ValueError(f"{path}: {key} is not computed")
        errors[key] = _error(computed[key], reference)
    return errors


def _our_values(official: Official, stated: dict[str, Any], arrays: Arrays) -> dict[str, Any]:
    """Our configuration of the official one; ValueError for a hyperparameter that is not understood."""
    values = dict(official.values)
    fixed = {**COMMON_FIXED, **official.fixed}
    derived = {"const_std": learned_std, **official.derived}
    for key, value in stated.items():
        if key in official.same:
            if value != stated[official.same[key]]:
                raise ValueError(
                    f"{key} is {value!r} and {official.same[key]} {stated[official.same[key]]!r}: not implemented"
                )
        elif key in derived:
            values |= derived[key](stated)
        elif key in official.keys:
            values[official.keys[key]] = value
        elif key in fixed:
            if value != fixed[key]:
                raise ValueError(f"{key}: {value!r} is not implemented, only {fixed[key]!r}")
        elif key not in SAMPLING and key not in official.unused:
            raise ValueError(f"the hyperparameter {key} ({value!r}) is unknown")
    kernels = [value for key, value in _under("params", arrays).items() if key.endswith("kernel") and value.ndim == 3]
    if kernels:
        values["ensemble"] = len(kernels[0])
    return values


def _parameter_names(official: Official, arrays: Arrays) -> dict[str, str]:
    """Our parameter's name for each path of an official one."""
    paths = list(_under("params", arrays))
    scalars = {**ACTOR_STD, **official.scalars}
    names = {path: scalars[path] for path in paths if path in scalars}
    for network, ours in official.networks.items():
        inside = {path: path.removeprefix(f"{network}/") for path in paths if path.startswith(f"{network}/")}
        inside = {path: rest for path, rest in inside.items() if path not in names}
        has_head = not network.endswith("actor_net")  # the policy's stand beside it
        layers = {int(found[1]) for rest in inside.values() if (found := re.match(r"Dense_(\d+)/", rest))}
        for path, rest in inside.items():
            if "/" not in rest:  # a single layer
                names[path] = f"{ours}.{LAYER[rest]}"
                continue
            layer, kind = rest.split("/")
            number = int(layer.rsplit("_", 1)[1])
            if layer.startswith("LayerNorm"):
                names[path] = f"{ours}.norms.{number}." + ("bias" if kind == "bias" else official.gain(network))
            else:
                module = "head" if has_head and number == max(layers) else f"hidden.{number}"
                names[path] = f"{ours}.{module}." + LAYER[kind]
    if unknown := set(paths) - names.keys():
        raise ValueError(f"no parameter of ours for {', '.join(sorted(unknown))}")
    return names


def _load(agent: Agent, names: dict[str, str], official: Official, arrays: Arrays) -> None:
    """Official parameters into the agent; every parameter that learns must get one."""
    parameters = dict(agent.named_parameters())
    learning = {name for name, parameter in parameters.items() if parameter.requires_grad}
    mapped = set(names.values())
    if missing := (learning - mapped) | (mapped - parameters.keys()):
        raise ValueError(f"these parameters have no counterpart: {', '.join(sorted(missing))}")
    with torch.no_grad():
        for path, name in names.items():
            parameters[name].copy_(_ours(arrays[f"params/{path}"], parameters[name]))
        for path, value in _under("target", arrays).items():
            target = parameters[official.target_name(names[path])]
            target.copy_(_ours(value, target))


def _ours(value: np.ndarray, parameter: Tensor) -> Tensor:
    """An official array in our shape: ``nn.Linear`` is transposed, ensembles of one have no axis there."""
    tensor = torch.from_numpy(np.asarray(value))
    if tensor.ndim == 2 and parameter.ndim == 2:
        tensor = tensor.T
    shape = [size for size in tensor.shape if size != 1]
    if shape != [size for size in parameter.shape if size != 1]:
        raise ValueError(f"an official parameter of shape {tuple(value.shape)} is {tuple(parameter.shape)} here")
    return tensor.reshape(parameter.shape)


def _theirs(tensor: Tensor) -> Tensor:
    """A tensor of ours in the official order of axes; only those of ``nn.Linear`` have two."""
    return tensor.T if tensor.ndim == 2 else tensor


def _compute(
    agent: Agent, config: RunConfig, official: Official, batch: Batch, names: dict[str, str]
) -> dict[str, Tensor]:
    """Everything that a file can name, by the file's keys."""
    parameters = dict(agent.named_parameters())
    optimiser = torch.optim.Adam(agent.parameters(), lr=config.train.learning_rate)
    with torch.no_grad():
        computed = {name: value(agent, batch) for name, value in official.answers.items()}
        goals = batch.frames[official.actor_goal]
        computed["action"] = agent.deployed(batch.frames["observation"], goals)[0]
    total, metrics = agent.loss(batch)
    total.backward()
    computed["loss/total"] = total.detach()
    for name, loss in official.losses.items():
        with suppress(KeyError):  # AWR has no Q term, DDPG+BC no weights
            computed[f"loss/{name}"] = loss(metrics, config.agent)
    for path, name in names.items():
        gradient = parameters[name].grad
        computed[f"grad/{path}"] = _theirs(torch.zeros_like(parameters[name]) if gradient is None else gradient.clone())
    agent.before_update()
    optimiser.step()
    agent.after_update()
    for path, name in names.items():
        if (target := official.target_name(name)) in parameters:
            computed[f"after/{path}"] = _theirs(parameters[target].detach())
    return computed


def _error(value: Tensor, reference: np.ndarray) -> float:
    """The largest difference over the largest entry."""
    found = value.double().numpy()
    if found.size != reference.size:
        raise ValueError(f"a value of shape {found.shape} is {reference.shape} in the file")
    difference = np.abs(found.reshape(reference.shape) - reference).max()
    error = float(difference / max(np.abs(reference).max(), SMALLEST_SCALE))
    return error if np.isfinite(error) else float("inf")


@contextmanager
def _injected(agent: Agent, noise: tuple[str, ...], arrays: Arrays) -> Iterator[None]:
    """The file's drawn numbers in place of the agent's own, in the order in which it draws them."""
    drawn = [name for name in noise or ("noise_actor",) if f"extra/{name}" in arrays]

    def noise_of_the_file(like: Tensor) -> Tensor:
        if not drawn:
            raise ValueError("the agent draws numbers that the file does not hold")
        return torch.from_numpy(arrays[f"extra/{drawn.pop(0)}"])

    with patch.object(agent, "noise", noise_of_the_file):
        yield


def _under(folder: str, arrays: Arrays) -> Arrays:
    return {key.removeprefix(f"{folder}/"): value for key, value in arrays.items() if key.startswith(f"{folder}/")}


def bar(key: str) -> float:
    """The largest error that counts as equal."""
    return BARS.get(key.split("/")[0], OTHER_BAR)


def main() -> int:
    """One line per file: the worst loss, gradient and other value."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    above = 0
    for path in parser.parse_args().files:
        errors = worst_error(path)
        kinds = {"loss": "loss", "grad": "gradient", "": "action, value, target"}
        worst = {
            kind: [e for key, e in errors.items() if (key.split("/")[0] if kind else "") == kind] for kind in kinds
        }
        worst[""] = [e for key, e in errors.items() if key.split("/")[0] not in kinds]
        print(f"{path.name}: " + ", ".join(f"{kinds[kind]} {max(found):.1e}" for kind, found in worst.items() if found))
        for key, error in errors.items():
            if not error <= bar(key):
                above += 1
                print(f"  {key}: {error:.1e} is above {bar(key):.0e}")
    return 1 if above else 0


if __name__ == "__main__":
    raise SystemExit(main())
