"""Closed-loop evaluation: a policy in held-out scenes of a simulator, behind the same safety filter as on the
robot.

Deterministic: the same policy, task and seed give the same result, whatever the number of workers. No torch
is loaded.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mqe_core.bundle import PolicyBundle
from mqe_core.runtime.control_loop import ControlLoop, StepResult
from mqe_core.runtime.policy import OnnxPolicy
from mqe_core.runtime.policy_side import PolicySide
from mqe_core.runtime.robot import FIRST_EVALUATION_SEED, Camera, make_scene
from mqe_core.runtime.safety import SafeRobot
from mqe_core.spec import RobotSpec, load_robot_spec

_Z_95 = 1.959963984540054  # two-sided 95 % quantile of the standard normal


@dataclass(frozen=True)
class EpisodeOutcome:
    """One scene: `scene_seed` makes it again; `rules` counts what the safety filter clipped or refused."""

    scene_seed: int
    score: float
    success: bool
    steps: int
    last_steps_to_goal: float | None
    rules: dict[str, int]


@dataclass(frozen=True)
class Evaluation:
    """Outcomes in the order of their seeds, and what they amount to."""

    policy: str
    fingerprint: str
    task: str
    seed: int
    max_score: float
    outcomes: tuple[EpisodeOutcome, ...]

    def summary(self) -> dict[str, object]:
        """For JSON: success_rate with its 95 % Wilson interval, mean_score, and every episode."""
        successes = sum(outcome.success for outcome in self.outcomes)
        return {
            "task": self.task,
            "episodes": len(self.outcomes),
            "seed": self.seed,
            "success_rate": successes / len(self.outcomes),
            "ci95": list(wilson_interval(successes, len(self.outcomes))),
            "mean_score": float(np.mean([outcome.score for outcome in self.outcomes])),
            "max_score": self.max_score,
            "policy": self.policy,
            "fingerprint": self.fingerprint,
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
        }


def evaluate(
    policy: str | Path,
    spec: RobotSpec,
    task: str,
    episodes: int,
    seed: int,
    *,
    backend: str = "sim",
    workers: int = 1,
    progress: bool = True,
) -> Evaluation:
    """Run the bundle `policy` in scenes FIRST_EVALUATION_SEED + seed + i of `task`; success is the task's
    full score.

    Raises BundleError where the policy must not be used, ValueError for an unknown task or backend, or a
    policy of another domain.
    """
    if episodes < 1 or workers < 1 or seed < 0:
        raise ValueError(
            f"episodes and workers must be at least 1 and the seed at least 0; got {episodes}, {workers}, "
            f"{seed}"
        )
    bundle = PolicyBundle.open(policy, spec)
    scene_seeds = [FIRST_EVALUATION_SEED + seed + i for i in range(episodes)]
    outcomes, max_score, successes = [], 0.0, 0
    with tqdm(total=episodes, unit="episode", desc=f"evaluating {task}", disable=not progress) as bar:
        for outcome, max_score in _outcomes(bundle, spec, backend, task, scene_seeds, workers):
            outcomes.append(outcome)
            successes += outcome.success
            bar.set_postfix(success=f"{successes}/{len(outcomes)}", refresh=False)
            bar.update()
    return Evaluation(str(policy), bundle.fingerprint, task, seed, max_score, tuple(outcomes))


def run_episode(
    bundle: PolicyBundle, spec: RobotSpec, backend: str, task: str, scene_seed: int
) -> tuple[EpisodeOutcome, float]:
    """One scene from start to `max_steps`; the outcome and the task's highest score."""
    scene = make_scene(backend, spec, task, scene_seed)
    try:
        robot = SafeRobot(scene.robot, spec, scene.clock)
        policy = OnnxPolicy(bundle)
        side = PolicySide(policy, spec, scene.clock, gripper=policy.gripper_rule(), session="evaluation")
        side.set_goal(scene.goal, _domain_of(scene.camera))
        last: list[StepResult] = []
        rules: Counter[str] = Counter()

        def note(result: StepResult) -> None:
            last[:] = [result]
            if result.command is None:
                rules[result.decision.held] += 1

        steps = ControlLoop(robot, scene.camera, side, scene.clock, spec.control.control_hz).run(
            scene.max_steps, note
        )
        output = last[0].decision.output
        score = float(scene.score())
        rules.update(robot.counts)
        distance = None if output is None else output.steps_to_goal
        return EpisodeOutcome(
            scene_seed, score, score >= scene.max_score, steps, distance, dict(rules)
        ), scene.max_score
    finally:
        scene.close()


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a success rate (Wilson score), which stays inside [0, 1] and is honest at 0 and at
    all.
    """
    rate, z2 = successes / trials, _Z_95**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z_95 / (1 + z2 / trials) * np.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2))
    # At no and at all successes the exact bounds are 0 and 1; rounding would leave 1e-17 beside them.
    low = 0.0 if successes == 0 else float(centre - half)
    high = 1.0 if successes == trials else float(centre + half)
    return low, high


def _domain_of(camera: Camera) -> str:
    frame = camera.read()
    if frame is None:
        raise RuntimeError("the scene's camera gives no frame")
    return frame.domain


def _outcomes(
    bundle: PolicyBundle, spec: RobotSpec, backend: str, task: str, scene_seeds: list[int], workers: int
) -> Iterator[tuple[EpisodeOutcome, float]]:
    if workers == 1:
        for scene_seed in scene_seeds:
            yield run_episode(bundle, spec, backend, task, scene_seed)
        return
    # spawn, not fork: a simulator's client and onnxruntime's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    settings = (str(bundle.path), spec.source, backend, task)
    with ProcessPoolExecutor(min(workers, len(scene_seeds)), context, _start_worker, settings) as pool:
        yield from pool.map(_work, scene_seeds)


_worker: dict[str, tuple] = {}  # what each worker process keeps between episodes


def _start_worker(policy: str, robot: str, backend: str, task: str) -> None:
    spec = load_robot_spec(robot)
    _worker["settings"] = (PolicyBundle.open(policy, spec), spec, backend, task)


def _work(scene_seed: int) -> tuple[EpisodeOutcome, float]:
    return run_episode(*_worker["settings"], scene_seed)
