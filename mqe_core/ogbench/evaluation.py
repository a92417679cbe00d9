"""OGBench's protocol: the five tasks of an environment, the policy's mean action, success at an episode's last step.

All episodes of a task run side by side, and each step asks the policy once for all that are still under way. Episodes
differ in start and goal, which the environment draws around the task's; a seed gives the same ones again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mqe_core.ogbench.environments import Environment, global_numpy_seed, make_environment, reset, widths_of
from mqe_core.ogbench.names import DatasetName
from mqe_core.robot.arrays import AnyArray, Bools, Floats, Ints

# Observations and goals, (n, S) float32 or (n, H, W, 3) uint8 each -> actions (n, A) in [-1, 1].
Policy = Callable[[AnyArray, AnyArray], AnyArray]


@dataclass(frozen=True)
class TaskOutcome:
    """The episodes of one task."""

    task: int  # from 1
    success: Bools  # (episodes,), at the last step
    steps: Ints  # (episodes,), until success or the end

    @property
    def rate(self) -> float:
        """Share of the episodes."""
        return float(self.success.mean())


class Evaluator:
    """Measures policies in one environment, ``episodes`` of each of its tasks; makes so many environments, once."""

    def __init__(self, name: DatasetName, episodes: int, seed: int = 0) -> None:
        if episodes < 1:
            raise ValueError(f"an evaluation needs at least one episode of each task, got {episodes}")
        self.name, self.seed = name, seed
        self._environments = [make_environment(name) for _ in range(episodes)]
        self.widths = widths_of(self._environments[0])
        self.tasks = int(self._environments[0].unwrapped.num_tasks)

    def __call__(self, policy: Policy) -> list[TaskOutcome]:
        """Every task, in order."""
        return [self.task(policy, number) for number in range(1, self.tasks + 1)]

    def task(self, policy: Policy, number: int) -> TaskOutcome:
        """The episodes of task ``number``, from 1."""
        seeds = np.random.SeedSequence([self.seed, number]).generate_state(len(self._environments) + 1)
        with global_numpy_seed(int(seeds[-1])):
            return self._run(policy, number, [int(seed) for seed in seeds[:-1]])

    def _run(self, policy: Policy, number: int, seeds: list[int]) -> TaskOutcome:
        began = [reset(env, seed, {"task_id": number}) for env, seed in zip(self._environments, seeds)]
        observations = self._as_seen([observation for observation, _ in began])
        goals = self._as_seen([info["goal"] for _, info in began])
        success, steps = np.zeros(len(began), dtype=bool), np.zeros(len(began), dtype=np.int64)
        active: Ints = np.arange(len(began))
        while len(active):
            actions = np.clip(policy(observations[active], goals[active]), -1.0, 1.0)
            going = []
            for index, action in zip(active, actions):
                observation, _, terminated, truncated, info = self._environments[index].step(action)
                observations[index] = observation
                success[index] = bool(info["success"])
                steps[index] += 1
                if not (terminated or truncated):
                    going.append(index)
            active = np.array(going, dtype=np.int64)
        return TaskOutcome(number, success, steps)

    def _as_seen(self, observations: list[Any]) -> AnyArray:
        return np.stack(observations).astype(np.uint8 if self.name.pixels else np.float32)

    @property
    def first_environment(self) -> Environment:
        """One of them, for its map."""
        return self._environments[0]


def overall(outcomes: list[TaskOutcome]) -> float:
    """Mean over tasks of the success rate, OGBench's figure."""
    rates: Floats = np.array([outcome.rate for outcome in outcomes])
    return float(rates.mean())
