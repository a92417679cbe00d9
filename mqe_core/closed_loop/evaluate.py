"""Closed-loop evaluation: a policy in held-out scenes of a simulator, behind the same safety filter as on the robot.

Deterministic: the same policy and settings give the same result, whatever the number of worker processes. No torch is
loaded.
"""

from __future__ import annotations

import functools
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mqe_core.closed_loop.random_choice import RandomChoice
from mqe_core.closed_loop.results import Result, summarise, title
from mqe_core.files.progress import Progress
from mqe_core.images import encode_jpeg
from mqe_core.interrupts import starting_workers
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.choice import check_choice
from mqe_core.policy.reachability import UNREACHABLE
from mqe_core.robot.spec import RobotSpec, load_robot_spec
from mqe_core.runtime.backends import make_scene
from mqe_core.runtime.control_loop import ControlLoop, StepResult
from mqe_core.runtime.onnx_policy import OnnxPolicy
from mqe_core.runtime.policy_side import PolicySide
from mqe_core.runtime.robot import Camera
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED, Scene

_FILM_QUALITY = 90  # of the JPEG frames that are kept for a film


@dataclass(frozen=True)
class EvaluationSettings:
    """Which scenes are played.

    Attributes:
        task: name of the task.
        episodes: how many scenes, one episode each.
        seed: the first of the held-out scenes, from 0.
        backend: name of the simulator.
        randomise: what else differs between scenes, where the simulator knows such names.
        stage: from 0. The stages before it are done already, and it alone is judged when its time is over. The goal is
            the whole task's, so a policy may go on. None for the whole task.
        anyway: pursue goals also where the policy would refuse them.
        choice: who chooses among a policy's candidates, one of CHOICES; "random" is the control.
    """

    task: str
    episodes: int
    seed: int = 0
    backend: str = "sim"
    randomise: tuple[str, ...] = ()
    stage: int | None = None
    anyway: bool = False
    choice: str = "critic"

    @property
    def stage_from_1(self) -> int | None:
        """The stage as people and files count it."""
        return None if self.stage is None else self.stage + 1

    @property
    def title(self) -> str:
        """What is played, in words."""
        return title(self.task, self.stage_from_1)

    @property
    def scene_seeds(self) -> range:
        """The scenes, in their order."""
        first = FIRST_EVALUATION_SEED + self.seed
        return range(first, first + self.episodes)

    def make_scene(self, spec: RobotSpec, scene_seed: int) -> Scene:
        """Set one of the scenes up."""
        options: dict[str, Any] = {}  # only what was asked for: another simulator may know neither
        if self.randomise:
            options["randomise"] = self.randomise
        if self.stage is not None:
            options["stage"] = self.stage
        return make_scene(self.backend, spec, self.task, scene_seed, **options)


@dataclass(frozen=True)
class EpisodeOutcome:
    """What came of the episode in scene `scene_seed`. `rules` counts what the safety filter clipped or refused, and why
    the policy's side asked for nothing.
    """

    scene_seed: int
    score: float
    success: bool
    steps: int
    last_steps_to_goal: float | None
    rules: dict[str, int]
    refused: bool = False  # the policy's side called the goal unreachable, which ended the episode
    steps_to_goal: tuple[float, ...] = ()  # what the policy said at each control step; nan where it gave no answer


@dataclass(frozen=True)
class Film:
    """JPEG frames of one episode, one per control step, and of its goal."""

    goal: bytes
    frames: tuple[bytes, ...]


@dataclass(frozen=True)
class EpisodeResult:
    """One episode: what came of it, the highest score possible, and its film where one was asked for."""

    outcome: EpisodeOutcome
    max_score: float
    film: Film | None


@dataclass(frozen=True)
class Evaluation:
    """Outcomes in the order of their scenes, and what they amount to. `films` are those of the first episodes."""

    policy: str
    fingerprint: str
    settings: EvaluationSettings
    max_score: float
    outcomes: tuple[EpisodeOutcome, ...]
    films: tuple[Film, ...] = ()

    def summary(self) -> Result:
        """For JSON. Of each episode everything but `steps_to_goal`."""
        return {
            "task": self.settings.task,
            "seed": self.settings.seed,
            **summarise([outcome.score for outcome in self.outcomes], self.max_score),
            "randomise": list(self.settings.randomise),
            "stage": self.settings.stage_from_1,
            "refused": sum(outcome.refused for outcome in self.outcomes),
            "choice": self.settings.choice,
            "policy": self.policy,
            "fingerprint": self.fingerprint,
            "outcomes": [{k: v for k, v in asdict(o).items() if k != "steps_to_goal"} for o in self.outcomes],
        }


def evaluate(
    policy: str | Path,
    spec: RobotSpec,
    settings: EvaluationSettings,
    *,
    workers: int = 1,
    films: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Run the bundle `policy` in the settings' scenes, in `workers` processes. Success is the task's full score.

    The frames of the first `films` episodes are kept. `progress` shows a bar.

    Raises BundleError where the policy must not be used, ValueError for an unknown task, stage or backend, or a policy
    of another domain.
    """
    episodes, seed = settings.episodes, settings.seed
    if episodes < 1 or workers < 1 or seed < 0:
        raise ValueError(
            f"episodes and workers must be at least 1 and the seed at least 0; got {episodes}, {workers}, {seed}"
        )
    bundle = PolicyBundle.open(policy, spec)
    check_choice(settings.choice, bundle.contract.chooses)
    results: list[EpisodeResult] = []
    with Progress(total=episodes, unit="episode", desc=f"evaluating {settings.task}", disable=not progress) as bar:
        for result in _results(bundle, spec, settings, workers, films):
            results.append(result)
            successes = sum(result.outcome.success for result in results)
            bar.set_postfix(success=f"{successes}/{len(results)}", refresh=False)
            bar.update()
    return Evaluation(
        policy=str(policy),
        fingerprint=bundle.fingerprint,
        settings=settings,
        max_score=results[-1].max_score,
        outcomes=tuple(result.outcome for result in results),
        films=tuple(result.film for result in results if result.film is not None),
    )


def run_episode(
    bundle: PolicyBundle, spec: RobotSpec, settings: EvaluationSettings, scene_seed: int, film: bool = False
) -> EpisodeResult:
    """Play one scene to its last step, or until its goal is refused. `film` says whether the frames are kept."""
    scene = settings.make_scene(spec, scene_seed)
    try:
        robot = SafeRobot(scene.robot, spec, scene.clock)
        onnx_policy = OnnxPolicy(bundle)
        policy = RandomChoice(onnx_policy, scene_seed) if settings.choice == "random" else onnx_policy
        side = PolicySide(
            policy,
            spec,
            scene.clock,
            gripper=onnx_policy.gripper_rule(),
            session="evaluation",
            unreachable_steps=bundle.contract.unreachable_steps,
        )
        side.set_goal(scene.goal, _domain_of(scene.camera), anyway=settings.anyway)
        notes = _Notes(film)
        loop = ControlLoop(robot, scene.camera, side, scene.clock, spec.control.control_hz)
        steps = loop.run(scene.max_steps, notes.add)
        score = float(scene.score())
        outcome = EpisodeOutcome(
            scene_seed=scene_seed,
            score=score,
            success=score >= scene.max_score,
            steps=steps,
            last_steps_to_goal=notes.last_steps_to_goal,
            rules=dict(notes.kept_because + robot.counts),
            refused=notes.refused,
            steps_to_goal=tuple(notes.steps_to_goal),
        )
        kept = Film(encode_jpeg(scene.goal, _FILM_QUALITY), tuple(notes.frames)) if film else None
        return EpisodeResult(outcome, scene.max_score, kept)
    finally:
        scene.close()


class _Notes:
    """What is remembered of an episode's control steps."""

    def __init__(self, film: bool) -> None:
        self._film = film
        self.last_steps_to_goal: float | None = None
        self.steps_to_goal: list[float] = []
        self.kept_because: Counter[str] = Counter()  # reasons of the policy's side; the safety filter counts its own
        self.frames: list[bytes] = []
        self.refused = False

    def add(self, step: StepResult) -> bool:
        """One control step. True where the goal is refused: no other step follows."""
        output = step.decision.output
        self.last_steps_to_goal = None if output is None else output.steps_to_goal
        self.steps_to_goal.append(float("nan") if self.last_steps_to_goal is None else self.last_steps_to_goal)
        if step.answer is None and step.kept_because is not None:
            self.kept_because[step.kept_because] += 1
        if self._film and step.frame is not None:
            self.frames.append(encode_jpeg(step.frame.image, _FILM_QUALITY))
        self.refused = step.kept_because == UNREACHABLE
        return self.refused


def _domain_of(camera: Camera) -> str:
    frame = camera.read()
    if frame is None:
        raise RuntimeError("the scene's camera gives no frame")
    return frame.domain


def _results(
    bundle: PolicyBundle, spec: RobotSpec, settings: EvaluationSettings, workers: int, films: int
) -> Iterator[EpisodeResult]:
    """Of each scene, in their order."""
    filmed = [index < films for index in range(settings.episodes)]
    if workers == 1:
        for scene_seed, film in zip(settings.scene_seeds, filmed):
            yield run_episode(bundle, spec, settings, scene_seed, film)
        return
    # spawn, not fork: a simulator's client and onnxruntime's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    start = (bundle.path, spec.source, settings)
    with ProcessPoolExecutor(min(workers, settings.episodes), context, _start_worker, start) as pool:
        with starting_workers():
            futures = [pool.submit(_work, scene, film) for scene, film in zip(settings.scene_seeds, filmed)]
        try:
            for future in futures:
                yield future.result()
        except BaseException:  # Ctrl-C, or a scene that failed: nobody waits for the rest
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


_play: Callable[[int, bool], EpisodeResult] | None = None  # what a worker process does with a scene


def _start_worker(policy: Path, robot: str, settings: EvaluationSettings) -> None:
    """Open the policy once per process."""
    global _play
    spec = load_robot_spec(robot)
    _play = functools.partial(run_episode, PolicyBundle.open(policy, spec), spec, settings)


def _work(scene_seed: int, film: bool) -> EpisodeResult:
    assert _play is not None
    return _play(scene_seed, film)
