"""Closed-loop evaluation: a policy in held-out scenes of a simulator, behind the same safety filter as on the
robot.

Deterministic: the same policy, task and seed give the same result, whatever the number of workers. No torch
is loaded.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from mqe_core.bundle import PolicyBundle
from mqe_core.images import encode_jpeg
from mqe_core.runtime.control_loop import ControlLoop, StepResult
from mqe_core.runtime.policy import OnnxPolicy
from mqe_core.runtime.policy_side import PolicySide
from mqe_core.runtime.robot import FIRST_EVALUATION_SEED, Camera, make_scene
from mqe_core.runtime.safe_robot import SafeRobot
from mqe_core.spec import RobotSpec, load_robot_spec
from mqe_core.statistics import summarise

_FILM_QUALITY = 90  # of the JPEG frames that are kept for a film


@dataclass(frozen=True)
class EpisodeOutcome:
    """One scene: `scene_seed` makes it again; `rules` counts what the safety filter clipped or refused."""

    scene_seed: int
    score: float
    success: bool
    steps: int
    last_steps_to_goal: float | None
    rules: dict[str, int]
    steps_to_goal: tuple[float, ...] = ()  # what the policy said at each control step; nan where it gave no answer


@dataclass(frozen=True)
class Film:
    """JPEG frames of one episode, one per control step, and of its goal."""

    goal: bytes
    frames: tuple[bytes, ...]


@dataclass(frozen=True)
class Evaluation:
    """Outcomes in the order of their seeds, and what they amount to."""

    policy: str
    fingerprint: str
    task: str
    seed: int
    max_score: float
    outcomes: tuple[EpisodeOutcome, ...]
    films: tuple[Film, ...] = ()  # of the first episodes, where asked for
    randomise: tuple[str, ...] = ()
    stage: int | None = None  # of the task, from 0, where one alone was played

    @property
    def played(self) -> str:
        """The task, and the stage where one alone was played, counted from 1 as people do."""
        return self.task if self.stage is None else f"{self.task}, stage {self.stage + 1}"

    def summary(self) -> dict[str, object]:
        """For JSON: success_rate and mean_score with their 95 % Wilson intervals, and every episode (`steps_to_goal` is left out)."""
        return {
            "task": self.task,
            "seed": self.seed,
            **summarise([outcome.score for outcome in self.outcomes], self.max_score),
            "randomise": list(self.randomise),
            "stage": None if self.stage is None else self.stage + 1,
            "policy": self.policy,
            "fingerprint": self.fingerprint,
            "outcomes": [{k: v for k, v in asdict(o).items() if k != "steps_to_goal"} for o in self.outcomes],
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
    films: int = 0,
    randomise: Sequence[str] = (),
    stage: int | None = None,
) -> Evaluation:
    """Run the bundle `policy` in scenes FIRST_EVALUATION_SEED + seed + i of `task`; success is the task's
    full score. The frames of the first `films` episodes are kept. `randomise` names what else
    differs between scenes, where the simulator knows such names. With `stage`, from 0, those before it are done
    already, and it alone is judged when its time is over; the goal is the whole task's, so a policy may go on.

    Raises BundleError where the policy must not be used, ValueError for an unknown task, stage or backend, or
    a policy of another domain.
    """
    if episodes < 1 or workers < 1 or seed < 0:
        raise ValueError(
            f"episodes and workers must be at least 1 and the seed at least 0; got {episodes}, {workers}, {seed}"
        )
    bundle = PolicyBundle.open(policy, spec)
    scene_seeds = [FIRST_EVALUATION_SEED + seed + i for i in range(episodes)]
    options: dict[str, object] = {"randomise": tuple(randomise)} if randomise else {}
    if stage is not None:
        options["stage"] = stage
    outcomes, max_score, successes, kept = [], 0.0, 0, []
    with tqdm(total=episodes, unit="episode", desc=f"evaluating {task}", disable=not progress) as bar:
        for outcome, max_score, film in _outcomes(bundle, spec, backend, task, scene_seeds, workers, films, options):
            outcomes.append(outcome)
            kept += [film] if film is not None else []
            successes += outcome.success
            bar.set_postfix(success=f"{successes}/{len(outcomes)}", refresh=False)
            bar.update()
    return Evaluation(
        str(policy), bundle.fingerprint, task, seed, max_score, tuple(outcomes), tuple(kept), tuple(randomise), stage
    )


def run_episode(
    bundle: PolicyBundle,
    spec: RobotSpec,
    backend: str,
    task: str,
    scene_seed: int,
    film: bool = False,
    options: Mapping[str, object] | None = None,
) -> tuple[EpisodeOutcome, float, Film | None]:
    """One scene from start to `max_steps`; the outcome, the task's highest score, and the frames where asked for. `options` go to the
    simulator.
    """
    scene = make_scene(backend, spec, task, scene_seed, **(options or {}))
    try:
        robot = SafeRobot(scene.robot, spec, scene.clock)
        policy = OnnxPolicy(bundle)
        side = PolicySide(policy, spec, scene.clock, gripper=policy.gripper_rule(), session="evaluation")
        side.set_goal(scene.goal, _domain_of(scene.camera))
        last: list[StepResult] = []
        rules: Counter[str] = Counter()
        distances: list[float] = []
        frames: list[bytes] = []

        def note(result: StepResult) -> None:
            last[:] = [result]
            answer = None if result.decision.output is None else result.decision.output.steps_to_goal
            distances.append(float("nan") if answer is None else answer)
            if film and result.frame is not None:
                frames.append(encode_jpeg(result.frame.image, _FILM_QUALITY))
            if result.command is None:
                rules[result.decision.held] += 1

        steps = ControlLoop(robot, scene.camera, side, scene.clock, spec.control.control_hz).run(scene.max_steps, note)
        output = last[0].decision.output
        score = float(scene.score())
        rules.update(robot.counts)
        distance = None if output is None else output.steps_to_goal
        outcome = EpisodeOutcome(
            scene_seed, score, score >= scene.max_score, steps, distance, dict(rules), tuple(distances)
        )
        return outcome, scene.max_score, Film(encode_jpeg(scene.goal, _FILM_QUALITY), tuple(frames)) if film else None
    finally:
        scene.close()


def _domain_of(camera: Camera) -> str:
    frame = camera.read()
    if frame is None:
        raise RuntimeError("the scene's camera gives no frame")
    return frame.domain


def _outcomes(
    bundle: PolicyBundle,
    spec: RobotSpec,
    backend: str,
    task: str,
    scene_seeds: list[int],
    workers: int,
    films: int,
    options: Mapping[str, object],
) -> Iterator[tuple[EpisodeOutcome, float, Film | None]]:
    filmed = [index < films for index in range(len(scene_seeds))]
    if workers == 1:
        for scene_seed, film in zip(scene_seeds, filmed):
            yield run_episode(bundle, spec, backend, task, scene_seed, film, options)
        return
    # spawn, not fork: a simulator's client and onnxruntime's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    settings = (str(bundle.path), spec.source, backend, task, options)
    with ProcessPoolExecutor(min(workers, len(scene_seeds)), context, _start_worker, settings) as pool:
        yield from pool.map(_work, scene_seeds, filmed)


_worker: dict[str, dict] = {}  # what each worker process keeps between episodes


def _start_worker(policy: str, robot: str, backend: str, task: str, options: Mapping[str, object]) -> None:
    spec = load_robot_spec(robot)
    _worker["settings"] = {
        "bundle": PolicyBundle.open(policy, spec),
        "spec": spec,
        "backend": backend,
        "task": task,
        "options": options,
    }


def _work(scene_seed: int, film: bool) -> tuple[EpisodeOutcome, float, Film | None]:
    return run_episode(**_worker["settings"], scene_seed=scene_seed, film=film)
