"""Scripted demonstrations written as a raw BridgeData V2 tree, so that the sim's data takes the same road as real data.

Scenes are numbered from the settings' seed on. What is in an episode depends on the settings alone: the same settings
give the same bytes, whatever the number of worker processes. An interrupted collection continues where it stopped.
"""

from __future__ import annotations

import functools
import logging
import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mqe_core.files.forecast import Forecast
from mqe_core.files.progress import Progress
from mqe_core.interrupts import starting_workers
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.domain import SIM, check_domain
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED
from mqe_sim.bridge_tree import bytes_of, claim, episode_folder, read_outcome, write_episode
from mqe_sim.camera import FRAME_HEIGHT, FRAME_WIDTH
from mqe_sim.demonstration import UnreachableError, run_oracle
from mqe_sim.tasks import STAGES, check_scene, check_stage, shuffled_stages
from mqe_sim.variation import check_names as check_randomisation
from mqe_sim.world import World

logger = logging.getLogger(__name__)

_ATTEMPTS = 8  # at an episode within reach, and with single stages at one that shows exactly its stage


@dataclass(frozen=True)
class CollectionSettings:
    """What is collected: the settings decide every byte of an episode.

    Attributes:
        task: name of the task.
        robot: name of the robot's spec.
        seed: the first scene.
        single_stages: a scene is worked through stage by stage, one episode each. Start and end of every episode then
            differ by exactly its stage, and the stages before it are done already.
        first_stage: the place in a scene's order of stages, from 0, at which its episodes begin; only with
            `single_stages`.
        shuffled: each scene has an order of stages of its own, which its seed alone draws; only with `single_stages`.
            Tasks whose stages demand one order keep it.
        size: (width, height) of the images in pixels.
        randomise: what else differs between scenes; see mqe_sim.variation.
        renderer: see mqe_sim.world.World.
        after_policy: this bundle drives first in every episode, for a while that is drawn. What is recorded is how the
            script goes on from there.

    Raises:
        ValueError: for an unknown task, stage or randomisation, or a negative seed.
    """

    task: str
    robot: str = "widowx250s"
    seed: int = 0
    single_stages: bool = False
    first_stage: int = 0
    shuffled: bool = False
    size: tuple[int, int] = (FRAME_WIDTH, FRAME_HEIGHT)
    randomise: tuple[str, ...] = ()
    renderer: str = "tiny"
    after_policy: Path | None = None

    def __post_init__(self) -> None:
        check_randomisation(self.randomise)
        check_scene(self.task, self.seed)
        if self.first_stage and not self.single_stages:
            raise ValueError(
                "only where each episode shows a single stage (--stage) can the first be left out (--first-stage)"
            )
        if self.shuffled and not self.single_stages:
            raise ValueError(
                "only where each episode shows a single stage (--stage) can their order be drawn (--shuffle-stages)"
            )
        check_stage(self.task, self.first_stage)

    @property
    def episodes_per_scene(self) -> int:
        """One for each stage that is shown, or one for the whole task."""
        return STAGES[self.task] - self.first_stage if self.single_stages else 1

    def order(self, seed: int) -> tuple[int, ...]:
        """The stages of scene `seed`, from 0, one after the other."""
        return shuffled_stages(self.task, seed) if self.shuffled else tuple(range(STAGES[self.task]))

    def record(self) -> dict[str, object]:
        """What a tree notes of its settings. The policy is named by its fingerprint.

        Raises BundleError for a policy that must not be used, ValueError for one that knows real images only.
        """
        noted: dict[str, object] = {
            "robot": self.robot,
            "task": self.task,
            "stage": self.single_stages,
            "seed": self.seed,
            "width": self.size[0],
            "height": self.size[1],
            "randomise": sorted(self.randomise),
            "renderer": self.renderer,
        }
        if self.first_stage:
            noted["first_stage"] = self.first_stage + 1  # as the command counts
        if self.shuffled:
            noted["shuffle_stages"] = True
        if self.after_policy is not None:
            bundle = PolicyBundle.open(self.after_policy, load_robot_spec(self.robot))
            check_domain(bundle.contract.domain, SIM, "the simulator")
            noted["after_policy"] = bundle.fingerprint
        return noted


@dataclass(frozen=True)
class CollectionReport:
    """How many episodes there are, how many of them are new, how many were skipped, and the mean score of all."""

    episodes: int
    written: int
    skipped: int
    mean_score: float


@dataclass(frozen=True)
class EpisodeJob:
    """One episode to be collected: stage `stage` (from 0; None for the whole task) of scene `seed`, after those in
    `done`.
    """

    settings: CollectionSettings
    seed: int
    stage: int | None
    done: tuple[int, ...]
    folder: Path


def collect(settings: CollectionSettings, episodes: int, out: Path, *, workers: int = 1) -> CollectionReport:
    """Write `episodes` demonstrations under `out`, in `workers` processes.

    An attempt that does not show its single stage is made again. An episode of which all attempts fail is skipped and
    counted.

    Raises:
        ValueError: for counts below 1, scenes that would reach the evaluation seeds, a folder that holds a collection
            of other settings, or a policy that knows real images only.
        BundleError: for a policy that must not be used.
        RuntimeError: where not one episode came about.
        WriteError: where by the first ones the others clearly have no room; those stay, and a later call goes on.
    """
    if episodes < 1 or workers < 1:
        raise ValueError(f"episodes and workers must be at least 1, got {episodes} and {workers}")
    last_seed = settings.seed + (episodes - 1) // settings.episodes_per_scene
    if last_seed >= FIRST_EVALUATION_SEED:
        raise ValueError(
            f"scenes {settings.seed} to {last_seed} reach the evaluation seeds (from {FIRST_EVALUATION_SEED}); use a "
            "lower --seed"
        )
    root = claim(out, settings.task, settings.record())
    jobs = _jobs(settings, episodes, root)
    waiting = [job for job in jobs if not job.folder.exists()]
    forecast, ended = Forecast(out, "collect fewer --episodes, "), 0
    for job in jobs:
        if job.folder.exists():
            ended += 1
            forecast.add(bytes_of(job.folder), ended / len(jobs))
    # spawn, not fork: PyBullet's client and a parent's threads do not survive a fork.
    with starting_workers():
        pool = multiprocessing.get_context("spawn").Pool(workers)
    with pool:
        done = pool.imap_unordered(_collect_episode, waiting)
        for folder in Progress(done, total=len(waiting), desc=f"collecting {settings.task}", unit="episode"):
            ended += 1
            forecast.add(bytes_of(folder), ended / len(jobs))
    there = [job.folder for job in jobs if job.folder.exists()]
    if not there:
        raise RuntimeError(f"{settings.task}: all attempts failed in every one of {episodes} scenes")
    skipped = episodes - len(there)
    mean_score = float(np.mean([read_outcome(folder).score for folder in there]))
    return CollectionReport(len(there), len(waiting) - skipped, skipped, mean_score)


def _jobs(settings: CollectionSettings, episodes: int, root: Path) -> list[EpisodeJob]:
    """All stages of the first scene, then of the next."""
    jobs = []
    for number in range(episodes):
        scene, index = divmod(number, settings.episodes_per_scene)
        seed, index = settings.seed + scene, settings.first_stage + index
        order = settings.order(seed)
        stage = order[index] if settings.single_stages else None
        jobs.append(EpisodeJob(settings, seed, stage, order[:index], episode_folder(root, seed, index)))
    return jobs


def _collect_episode(job: EpisodeJob) -> Path:
    """Make and write one episode; none where all attempts fail. Returns its folder."""
    settings = job.settings
    policy = None if settings.after_policy is None else _policy(settings.after_policy)
    world = _world(settings.robot, settings.renderer)
    for attempt in range(_ATTEMPTS):
        try:
            demonstration = run_oracle(
                world,
                settings.task,
                job.seed,
                settings.size,
                stage=job.stage,
                done=job.done,
                attempt=attempt,
                randomise=settings.randomise,
                policy=policy,
            )
        except UnreachableError as error:
            logger.debug("%s", error)
            continue
        if job.stage is None or demonstration.outcome.shows_one_stage:
            write_episode(job.folder, demonstration, settings.task, job.seed)
            break
    return job.folder


@functools.cache
def _world(robot: str, renderer: str) -> World:
    """Once per worker process: building a client costs more than resetting one."""
    return World(load_robot_spec(robot), renderer)


@functools.cache
def _policy(path: Path) -> PolicyBundle:
    """Once per worker process."""
    return PolicyBundle.open(path)
