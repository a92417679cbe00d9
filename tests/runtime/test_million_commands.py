"""A million random, adversarial and recorded commands: no sent one breaks a limit, at its target or on the way.

Every command is judged, by the whole of `Judge.step`: limits, PyBullet's kinematics, and its contacts at eight points
of the way. Nothing is sampled. The shards are independent of each other, so two halves run side by side: `-k "shard0 or
shard1"` and so on.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mqe_core.robot import safety_rules as safety
from mqe_core.robot.geometry import state_to_pose
from mqe_core.robot.kinematics import inverse_kinematics
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED

pytest.importorskip("pybullet")
from tests.runtime.safety_judge import Judge
from tests.runtime.safety_walks import PERIOD_S, check_walk, random_steps

COMMANDS, SHARDS = 1_000_000, 40
_WALK = 500  # commands of one walk, from its own start
_STARTS = ["neutral", "down", "sleep", "stretched", "low elbow"]
_SAMPLE = Path(os.environ.get("MQE_BRIDGE_SAMPLE") or Path(__file__).parents[2] / "../shared/data/bridge_rlds_sample")


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    judge = Judge(load_robot_spec(), tmp_path_factory.mktemp("judge"))
    yield judge
    judge.close()


def demonstrations(tasks: tuple[str, ...], seeds: int) -> list[np.ndarray]:
    """Actions (T, 7) of scripted demonstrations in the sim, recorded here and now."""
    from mqe_sim.demonstration import UnreachableError, run_oracle
    from mqe_sim.world import World

    world, recorded = World(load_robot_spec()), []
    for task in tasks:
        for seed in range(seeds):
            try:
                recorded.append(run_oracle(world, task, seed, size=None).actions)
            except UnreachableError:
                continue
    world.close()
    return recorded


@pytest.fixture(scope="module")
def recordings() -> list[np.ndarray]:
    """Actions of demonstrations, of the shipped policy, and of BridgeData where it is."""
    bridge = [actions for _, actions in bridge_episodes()]
    return demonstrations(("place1", "drawer_place"), 8) + policys_own(3) + bridge


def policys_own(scenes: int) -> list[np.ndarray]:
    """Actions of the shipped policy, as it asked for them, in held-out scenes of the sim."""
    from mqe_core.policy.bundle import PolicyBundle
    from mqe_core.runtime.backends import make_scene
    from mqe_core.runtime.control_loop import ControlLoop
    from mqe_core.runtime.onnx_policy import OnnxPolicy
    from mqe_core.runtime.policy_side import PolicySide
    from mqe_core.runtime.safety.safe_robot import SafeRobot

    spec, recorded = load_robot_spec(), []
    bundle = PolicyBundle.open(Path(__file__).parents[2] / "ros2_ws/src/mqe_bringup/policies/widowx_sim.onnx", spec)
    for seed in range(scenes):
        scene, results = make_scene("sim", spec, "place1", FIRST_EVALUATION_SEED + seed), []
        policy = OnnxPolicy(bundle)
        side = PolicySide(policy, spec, scene.clock, gripper=policy.gripper_rule(), session="recording")
        side.set_goal(scene.goal, "sim")
        robot = SafeRobot(scene.robot, spec, scene.clock)
        loop = ControlLoop(robot, scene.camera, side, scene.clock, spec.control.control_hz)
        loop.run(60, results.append)
        assert not robot.counts  # in normal operation no rule speaks
        scene.close()
        recorded.append(np.array([result.decision.output.action for result in results]))
    return recorded


def bridge_episodes() -> list[tuple[np.ndarray, np.ndarray]]:
    """(first state, actions) of each episode of the BridgeData sample; none where it is absent."""
    if not _SAMPLE.is_dir():
        return []
    from mqe_core.data.importer import open_source

    episodes = [task.load() for task in open_source(_SAMPLE).tasks()]
    return [(np.array(episode.states[0], dtype=float), np.array(episode.actions, dtype=float)) for episode in episodes]


def random_walk(rng: np.random.Generator, length: int) -> list[dict]:
    return random_steps(rng, length, rng.uniform(0.003, 0.08), rng.uniform(0.01, 0.4))


def recorded_walk(rng: np.random.Generator, length: int, recordings: list[np.ndarray]) -> list[dict]:
    """Recordings one after the other, unchanged, as a stream that may be late, doubled in rate, held, or of an arm that
    is blocked.
    """
    steps: list[dict] = []
    while len(steps) < length:
        blocked = rng.random() < 0.2
        for action in recordings[rng.integers(len(recordings))]:
            wait = PERIOD_S if rng.random() < 0.9 else float(rng.choice([0.11, 0.15, 0.19, 0.21, 0.4, 1.0]))
            steps.append(
                {
                    "kind": "action",
                    "action": action,
                    "gripper": float(action[6]),
                    "wait": wait,
                    "blocked": blocked and len(steps) % 40 < 15,
                }
            )
    return steps[:length]


def adversarial_walk(rng: np.random.Generator, length: int) -> list[dict]:
    """One way to do harm, kept up: into walls, table, obstacles or the arm itself, to and fro, too fast, or in bad
    form.
    """
    steps = random_steps(rng, length, 0.02, 0.08)
    push = rng.uniform(-0.06, 0.06, 3)
    twist = rng.uniform(-0.3, 0.3, 3)
    way = rng.choice(["push", "shake", "teleport", "fold", "rush", "blocked", "malformed"])
    for number, step in enumerate(steps):
        if way == "push":  # into a corner of whatever comes, and after a while into another
            if number % 60 == 0:
                push, twist = rng.uniform(-0.06, 0.06, 3) - [0, 0, 0.02], rng.uniform(-0.2, 0.2, 3)
            step["move"], step["turn"] = step["move"] + push, step["turn"] + twist * rng.random()
        elif way == "shake":
            step["move"], step["turn"] = (-1) ** number * push, (-1) ** number * twist
        elif way == "teleport":
            step["kind"], step["move"], step["turn"] = "absolute", rng.uniform(-0.4, 0.4, 3), rng.uniform(-3.2, 3.2, 3)
        elif way == "fold":
            step["move"], step["turn"] = step["move"] + [-0.02, 0, -0.01], step["turn"] + [0, -0.15, 0]
            if number % 100 > 60:
                step["move"] = step["move"] + [0.05, 0, 0.03]
        elif way == "rush":
            step["wait"] = float(rng.choice([0.0, 0.05, 0.1, 0.11, 0.13, 0.26]))
            step["move"] = 2 * step["move"] + push
        elif way == "blocked":
            step["blocked"], step["hold"] = number % 50 > 20, rng.random() < 0.05
            step["move"] = step["move"] + push * 0.5
        elif rng.random() < 0.5:
            step["kind"] = "hostile"
            step["poison"] = (float(rng.choice([np.nan, np.inf, -np.inf, 1e300, 2.0, 1e-300])), *rng.integers(0, 4, 2))
            step["gripper"] = float(rng.choice([np.nan, np.inf, 1e9, -3.0, 0.5]))
        elif rng.random() < 0.5:
            step["fields"] = _BAD_FORM[rng.integers(len(_BAD_FORM))]
    return steps


_BAD_FORM = [
    lambda now, number: {"stamp": now - 1.0},
    lambda now, number: {"stamp": now + 0.1},
    lambda now, number: {"stamp": float("nan")},
    lambda now, number: {"sequence": number - 3},
    lambda now, number: {"session": "another"},
    lambda now, number: {"frame_id": "camera"},
    lambda now, number: {"pose": np.zeros((3, 3))},
    lambda now, number: {"joints": np.ones(6), "clipped": ("nothing",)},
]


def _steps(kind: str, rng: np.random.Generator, length: int, recordings: list[np.ndarray]) -> list[dict]:
    if kind == "recorded":
        return recorded_walk(rng, length, recordings)
    return random_walk(rng, length) if kind == "random" else adversarial_walk(rng, length)


def _walks(
    judge: Judge, rng: np.random.Generator, count: int, length: int, recordings: list[np.ndarray]
) -> tuple[int, int, Counter[str]]:
    """Commands, sent ones, and the rules that spoke, in `count` walks of `length`, a third of each kind."""
    commands, sent, rules = 0, 0, Counter()
    for number in range(count):
        kind = ("random", "adversarial", "recorded")[number % 3]
        steps = _steps(kind, rng, length, recordings)
        start = "down" if kind == "recorded" and number % 2 else str(rng.choice(_STARTS))
        went, spoke = check_walk(judge, start, steps, sag_rad=0.03 if rng.random() < 0.2 else 0.0)
        commands, sent, rules = commands + len(steps), sent + went, rules + spoke
    return commands, sent, rules


def test_every_kind_of_command_is_judged(judge: Judge) -> None:
    """A few of each, in the default suite."""
    commands, sent, _ = _walks(judge, np.random.default_rng(7), 6, 120, demonstrations(("place1",), 1))
    assert commands == 720 and sent > commands / 3


@pytest.mark.skipif(
    not _SAMPLE.is_dir(), reason=f"no BridgeData sample at {_SAMPLE}; name its folder in MQE_BRIDGE_SAMPLE"
)
def test_recorded_bridge_data_breaks_no_limit(judge: Judge) -> None:
    """Every episode from where it began; the arm that recorded it moved within these limits, so most is sent as it
    is.
    """
    spec, commands, sent, rules = load_robot_spec(), 0, 0, Counter()
    for state, actions in bridge_episodes():
        joints = inverse_kinematics(spec, state_to_pose(state), spec.neutral_rad)
        assert joints is not None
        steps = [
            {"kind": "action", "action": action, "gripper": float(action[6]), "wait": PERIOD_S} for action in actions
        ]
        went, spoke = check_walk(judge, joints, steps)
        commands, sent, rules = commands + len(steps), sent + went, rules + spoke
    assert commands > 200 and sent > 0.9 * commands
    assert not {safety.WIND_UP, safety.JOINT_ACCELERATION, safety.JOINT_VELOCITY} & set(rules)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("shard", range(SHARDS), ids=lambda shard: f"shard{shard}")
def test_of_a_million_commands_no_sent_one_breaks_a_limit(
    judge: Judge, recordings: list[np.ndarray], shard: int, record_property
) -> None:
    walks = COMMANDS // SHARDS // _WALK
    commands, sent, rules = _walks(judge, np.random.default_rng([2026, shard]), walks, _WALK, recordings)
    assert commands == COMMANDS // SHARDS == walks * _WALK and sent > commands / 2
    record_property("sent", sent)
    print(f"{commands} commands, {sent} sent; " + ", ".join(f"{rule} {count}" for rule, count in rules.most_common()))
    assert set(safety.CLIP_RULES) - {safety.GRIPPER_EFFORT} <= set(
        rules
    )  # every limit was met; the mock measures no force
