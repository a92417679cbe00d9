"""Scripted demonstrations written as a raw BridgeData V2 tree, so that the sim's data takes the same road as real data.

Scenes are numbered from the seed on; each has a dated folder of its own, as a table set up by hand has in BridgeData, with one episode per stage
where stages are asked for. Neither depends on the number of workers, so the same seed gives the same bytes. An episode is written under a temporary
name and renamed when complete: an interrupted collection continues where it stopped.
"""

from __future__ import annotations

import functools
import json
import logging
import multiprocessing
import pickle
import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mqe_core.bundle import PolicyBundle
from mqe_core.geometry import apply_action, make_pose, pose_to_state
from mqe_core.images import encode_jpeg
from mqe_core.kinematics import forward_kinematics, inverse_kinematics
from mqe_core.runtime.robot import FIRST_EVALUATION_SEED, check_domain
from mqe_core.spec import load_robot_spec
from mqe_sim.camera import FRAME_HEIGHT, FRAME_WIDTH
from mqe_sim.oracles import make_oracle
from mqe_sim.scene import solve_scene
from mqe_sim.takeover import Driver
from mqe_sim.tasks import STAGES, check_scene, check_stage, make_task
from mqe_sim.variation import check_names as check_randomisation
from mqe_sim.world import World

logger = logging.getLogger(__name__)

STILL_STEPS = 4  # recorded after the retreat: what to do at the goal is to stay
JPEG_QUALITY = 95
_ORACLE_STREAM = 1  # keeps the oracle's noise apart from the scene's own random numbers
_COMMAND_DELAY_STREAM, _COMMAND_DELAY_S = (
    2,
    0.08,
)  # a command reaches the motors so long after its image, as over ROS; uniform from 0 per step
# The arm misses its targets by an offset that wanders (7 mm per axis), as play in the joints and sagging make a real one do: the hand is
# seen off its way at every point of it, and the actions show the way back.
_MISS_STREAM, _MISS_STEP_M, _MISS_MEMORY = 3, 0.004, 0.8
_TAKEOVER_STREAM = 4
_STREAMS_PER_ATTEMPT = 10
_ATTEMPTS = 8  # at an episode within reach, and with `stage` at one that shows exactly that
_FIRST_DATE = datetime(
    2026, 1, 1
)  # of scene 0; scene n is dated n minutes later, so that the same seed gives the same tree


class UnreachableError(RuntimeError):
    """The arm was sent where it cannot go."""


def run_oracle(
    world: World,
    task_name: str,
    seed: int,
    size: tuple[int, int] | None = (FRAME_WIDTH, FRAME_HEIGHT),
    *,
    stage: int | None = None,
    attempt: int = 0,
    randomise: Sequence[str] = (),
    policy: PolicyBundle | None = None,
) -> dict:
    """One demonstration in scene `seed`, from the oracle's `record_from` on; another `attempt` draws other noise. May raise UnreachableError.

    A `policy`, which needs a `size`, drives first, towards the goal of the whole task: the record then begins where the oracle takes over.

    Returns a dict: `images` list of (H, W, 3) uint8 (empty where `size` is None), `full_state`, `desired_state` (T, 7) Bridge states
    measured and commanded, `qpos` (T, 6), `time_stamp` (T,), `actions` (T−1, 7), `score`, `max_score`, `language`, `event` (the
    oracle's, or "takeover"), and `stages_before` and `stages_after`: which parts of the task were done where the record begins and ends.
    """
    spec = world.spec
    streams = (
        stream + _STREAMS_PER_ATTEMPT * attempt
        for stream in (_ORACLE_STREAM, _COMMAND_DELAY_STREAM, _MISS_STREAM, _TAKEOVER_STREAM)
    )
    oracle_rng, delay_rng, miss_rng, takeover_rng = (
        np.random.default_rng([seed, stream, stage or 0]) for stream in streams
    )
    driver = None
    if policy is not None:
        # Stages of a chain are steps to one goal; where a task has one stage only, that may be another scene than without (the cube in the drawer).
        shown = stage if STAGES[task_name] == 1 else None
        driver = Driver(
            policy, solve_scene(world, task_name, seed, *size, stage=shown, randomise=randomise)[0], takeover_rng
        )
    task = make_task(task_name, world, seed, stage=stage, randomise=randomise)
    oracle = make_oracle(task, oracle_rng, events=driver is None)
    record_from = oracle.record_from if driver is None else driver.steps
    miss_m = np.zeros(3)
    joints, gripper = task.start_joints, 1.0
    target = forward_kinematics(spec, joints)
    start_s, period_s = world.time_s, spec.control.period_s
    record: dict = {key: [] for key in ("images", "full_state", "desired_state", "qpos", "time_stamp", "actions")}

    def observe() -> np.ndarray:
        measured = world.arm.joints()
        pose = forward_kinematics(spec, measured)
        record["qpos"].append(measured)
        record["full_state"].append(pose_to_state(pose, world.arm.gripper()))
        record["desired_state"].append(pose_to_state(target, gripper))
        record["time_stamp"].append(world.time_s - start_s)
        if size is not None:
            # One before the record begins, too: what a late camera shows next.
            wanted = driver is not None or len(record["qpos"]) >= record_from
            record["images"].append(world.look(*size)[1] if wanted else None)
        return pose

    pose, still = observe(), 0
    stages_before = task.stages()
    while still < STILL_STEPS and len(record["actions"]) < record_from + task.max_steps:
        recording = len(record["actions"]) >= record_from
        still = still + oracle.done if recording else 0
        driven = driver is not None and not recording
        action = driver.act(record["images"][-1]) if driven else oracle.act(target, pose)
        before, target = target, apply_action(target, action, pose)
        miss_m = _MISS_MEMORY * miss_m + miss_rng.normal(0.0, _MISS_STEP_M, 3)
        reached = make_pose(target[:3, :3], target[:3, 3] + miss_m)
        solved, gripper = inverse_kinematics(spec, reached, joints), float(action[6])
        if solved is not None:
            joints = solved
        elif driven:
            target = before
        else:
            raise UnreachableError(
                f"scene {seed}: oracle and miss together asked for an unreachable pose at {np.round(reached[:3, 3], 3).tolist()}"
            )
        world.advance_to(world.time_s + delay_rng.uniform(0.0, _COMMAND_DELAY_S))
        world.command(joints, gripper)
        world.advance_to(start_s + (len(record["actions"]) + 1) * period_s)
        record["actions"].append(action)
        pose = observe()
        if len(record["actions"]) == record_from:
            stages_before = task.stages()
    task.settle()
    outcome = {
        "score": task.score(),
        "max_score": task.max_score,
        "language": task.language,
        "event": oracle.event if driver is None else "takeover",
    }
    outcome |= {"stages_before": stages_before, "stages_after": task.stages()}
    kept = {key: values[record_from:] for key, values in record.items()}
    return {**{k: (v if k == "images" else np.array(v)) for k, v in kept.items()}, **outcome}


def collect(
    spec_name: str,
    task: str,
    episodes: int,
    out: Path,
    *,
    stage: bool = False,
    first_stage: int = 0,
    seed: int = 0,
    workers: int = 1,
    size: tuple[int, int] = (FRAME_WIDTH, FRAME_HEIGHT),
    randomise: Sequence[str] = (),
    renderer: str = "tiny",
    after_policy: Path | None = None,
) -> dict:
    """Write `episodes` demonstrations under `out`; returns counts and their mean score.

    With `stage` a scene is worked through in single stages, one episode each: start and end of every episode differ by exactly the wanted
    one, and those before it are done already. A scene begins with `first_stage`, from 0, to show the last ones more often. An attempt that does
    not show one stage is made again; an episode of which all attempts fail is skipped and counted. `randomise` names what else differs between
    scenes, see mqe_sim.variation; `renderer` is World's. The bundle `after_policy` drives first in every episode, for a while that is drawn, and
    what is recorded is how the script goes on from there.

    Raises ValueError where the scenes would reach the evaluation seeds, where `out` holds a collection of other settings, or for a policy that
    must not be used (BundleError) or knows real images only; RuntimeError where not one episode came about.
    """
    if episodes < 1 or workers < 1:
        raise ValueError(f"episodes and workers must be at least 1, got {episodes} and {workers}")
    check_randomisation(randomise)
    check_scene(task, seed)
    if first_stage and not stage:
        raise ValueError(
            "only where each episode shows a single stage (--stage) can the first be left out (--first-stage)"
        )
    check_stage(task, first_stage)
    stages = STAGES[task] - first_stage if stage else 1
    last_scene = seed + (episodes - 1) // stages
    if last_scene >= FIRST_EVALUATION_SEED:
        raise ValueError(
            f"scenes {seed} to {last_scene} reach the evaluation seeds (from {FIRST_EVALUATION_SEED}); use a lower --seed"
        )
    root = Path(out) / "bridge_data_v2" / "sim_kitchen" / task / "00"
    settings = {"robot": spec_name, "task": task, "stage": stage, "seed": seed, "width": size[0], "height": size[1]}
    settings |= {"randomise": sorted(randomise), "renderer": renderer}
    if first_stage:
        settings["first_stage"] = first_stage + 1  # as the command counts
    if after_policy is not None:
        bundle = PolicyBundle.open(after_policy, load_robot_spec(spec_name))
        check_domain(bundle.contract.domain, "sim", "the simulator")
        settings["after_policy"] = bundle.fingerprint
    _write_settings(root, settings)
    jobs, folders = [], []
    for scene, number in (divmod(i, stages) for i in range(episodes)):
        scene, number = scene + seed, number + first_stage
        dated = root / (_FIRST_DATE + timedelta(minutes=scene)).strftime("%Y-%m-%d_%H-%M-%S")
        folders.append(dated / "raw" / "traj_group0" / f"traj{number}")
        if not folders[-1].exists():
            jobs.append(
                (
                    spec_name,
                    task,
                    number if stage else None,
                    scene,
                    folders[-1],
                    size,
                    tuple(randomise),
                    renderer,
                    after_policy,
                )
            )
    # spawn, not fork: PyBullet's client and a parent's threads do not survive a fork.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for _ in tqdm(
            pool.imap_unordered(_collect_one, jobs), total=len(jobs), desc=f"collecting {task}", unit="episode"
        ):
            pass
    there = [folder for folder in folders if folder.exists()]
    scores = [json.loads((folder / "outcome.json").read_text(encoding="utf-8"))["score"] for folder in there]
    skipped = episodes - len(there)
    if not there:
        raise RuntimeError(f"{task}: all attempts failed in every one of {episodes} scenes")
    return {
        "episodes": len(there),
        "written": len(jobs) - skipped,
        "skipped": skipped,
        "mean_score": float(np.mean(scores)),
    }


def _write_settings(root: Path, settings: dict) -> None:
    """What the tree was collected with; a tree of other settings is not mixed with this one."""
    path = root / "collection.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != settings:
        raise ValueError(f"{path} belongs to a collection with other settings; choose another --out")
    root.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=1), encoding="utf-8")


def _write_dated_folder(folder: Path) -> None:
    """The two files that BridgeData has beside raw/."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"camera_topics": ["/camera/image_raw"]}), encoding="utf-8")
    # Tells the importer that these images are no photographs; the real robot's files say nothing of it.
    (folder / "collection_metadata.json").write_text(json.dumps({"domain": "sim"}), encoding="utf-8")


_worlds: dict[
    tuple[str, str], World
] = {}  # one per worker process, robot and renderer: building a client costs more than resetting one


def _collect_one(job: tuple) -> None:
    spec_name, task, stage, seed, folder, size, randomise, renderer, after_policy = job
    policy = None if after_policy is None else _open_policy(after_policy)
    if (spec_name, renderer) not in _worlds:
        _worlds[spec_name, renderer] = World(load_robot_spec(spec_name), renderer)
    world = _worlds[spec_name, renderer]
    for attempt in range(_ATTEMPTS):
        try:
            record = run_oracle(
                world, task, seed, size, stage=stage, attempt=attempt, randomise=randomise, policy=policy
            )
        except UnreachableError as error:
            logger.debug("%s", error)
            continue
        if stage is None or shows_one_stage(record):
            _write_episode(folder, record, task, seed)
            return


@functools.cache
def _open_policy(path: Path) -> PolicyBundle:
    """Once per worker process."""
    return PolicyBundle.open(path)


def shows_one_stage(outcome: dict) -> bool:
    """Whether start and end differ by one part of the task and the wanted one is done; by an episode's record or its outcome.json."""
    changed = sum(before != after for before, after in zip(outcome["stages_before"], outcome["stages_after"]))
    return changed == 1 and outcome["score"] == outcome["max_score"]


def check_stages(root: Path) -> tuple[Counter[str], list[Path]]:
    """Number of episodes in a tree by the event in them, and those that do not show exactly one stage.

    None of the latter is the proof that training data holds no chain.
    """
    outcomes = {
        path.parent: json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(root).rglob("outcome.json"))
    }
    if not outcomes:
        raise ValueError(f"{root} holds no episodes of `mqe sim collect`")
    events = Counter(outcome["event"] or "nothing special" for outcome in outcomes.values())
    return events, [folder for folder, outcome in outcomes.items() if not shows_one_stage(outcome)]


def _write_episode(folder: Path, record: dict, task: str, seed: int) -> None:
    _write_dated_folder(folder.parents[2])
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "images0").mkdir(parents=True)
    for t, image in enumerate(record["images"]):
        (partial / "images0" / f"im_{t}.jpg").write_bytes(encode_jpeg(image, JPEG_QUALITY))
    observations = {key: record[key] for key in ("full_state", "desired_state", "qpos")}
    observations |= {"state": record["full_state"], "time_stamp": record["time_stamp"].tolist()}
    (partial / "obs_dict.pkl").write_bytes(pickle.dumps(observations, protocol=4))
    policy_out = [{"actions": action, "policy_type": "oracle"} for action in record["actions"]]
    (partial / "policy_out.pkl").write_bytes(pickle.dumps(policy_out, protocol=4))
    (partial / "lang.txt").write_text(record["language"] + "\n", encoding="utf-8")
    outcome = {
        "task": task,
        "seed": seed,
        **{key: record[key] for key in ("score", "max_score", "event", "stages_before", "stages_after")},
    }
    (partial / "outcome.json").write_text(json.dumps(outcome), encoding="utf-8")
    partial.rename(folder)
