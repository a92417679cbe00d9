"""What `mqe train --env` needs beside the training loop: the data of a name, and the score of a policy on the way."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mqe_core.learning.networks.actor import PolicyModule
from mqe_core.ogbench.dataset import OgbenchDataset
from mqe_core.ogbench.environments import Widths, make_environment, widths_of
from mqe_core.ogbench.evaluation import Evaluator, Policy, overall
from mqe_core.ogbench.names import DatasetName
from mqe_core.robot.arrays import AnyArray

TASKS = 5


def opener(name: DatasetName) -> Callable[[Path], OgbenchDataset]:
    """What opens a file as data of this name; ValueError where it is of another environment's widths."""

    def open_data(path: Path) -> OgbenchDataset:
        dataset = OgbenchDataset.open(path)
        dataset.metadata["name"] = name.text
        if importlib.util.find_spec("ogbench") is not None:  # training itself does not need it
            widths = Widths(dataset.states.shape[1], dataset.actions.shape[1])
            environment = make_environment(name)
            require_widths(name, widths_of(environment), widths, str(path))
            environment.close()
        return dataset

    return open_data


def require_widths(name: DatasetName, expected: Widths, found: Widths, whose: str) -> None:
    """ValueError where ``whose`` states or actions are not as wide as the environment's."""
    if found != expected:
        raise ValueError(
            f"{name.environment} has {_words(expected)}, {whose} has {_words(found)}: give the name of its own data"
        )


def _words(widths: Widths) -> str:
    seen = f"states of {widths.state} numbers" if widths.state else "images"
    return f"{seen} and actions of {widths.action}"


class EnvironmentScore:
    """Success in the environment, overall and of each task; a `Score` of the training loop."""

    columns = ("eval/success", *(f"eval/task{number}" for number in range(1, TASKS + 1)))

    def __init__(self, name: DatasetName, episodes: int, seed: int) -> None:
        self._evaluate = Evaluator(name, episodes, seed)
        assert self._evaluate.tasks == TASKS

    def __call__(self, policy: PolicyModule) -> dict[str, float]:
        outcomes = self._evaluate(as_policy(policy))
        tasks = {f"eval/task{outcome.task}": outcome.rate for outcome in outcomes}
        return {"eval/success": overall(outcomes), **tasks}


def as_policy(module: PolicyModule, chance_seed: int | None = None) -> Policy:
    """The module's actions, from arrays to arrays, where it lies. Its critic chooses among candidates at each step
    anew, without a margin; or, as a control, chance does, from ``chance_seed`` on.
    """
    device = next(module.parameters()).device
    rng = None if chance_seed is None else np.random.default_rng(chance_seed)

    @torch.no_grad()
    def act(observations: AnyArray, goals: AnyArray) -> AnyArray:
        seen = [torch.from_numpy(values).to(device) for values in (observations, goals)]
        if rng is None:
            action = module(*seen)[0]
        else:
            candidates = module.choose(*seen).candidates  # (B, N, A)
            rows, count = candidates.shape[:2]
            action = candidates[torch.arange(rows), torch.from_numpy(rng.integers(count, size=rows))]
        actions: AnyArray = action.cpu().numpy()
        return actions

    return act
