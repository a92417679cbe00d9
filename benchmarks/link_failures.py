"""Where one stage of a task of placing several objects goes wrong, counted over held-out scenes:

    python -m benchmarks.link_failures [POLICY] [--task place4] [--scenes 24] [--seed 2000]

Each stage is played alone, the ones before it done, as by `mqe eval --only-stage --anyway`. A scene counts as the first
of these that is true of it:

- placed: the object stands on its target, let go of
- never closed: the gripper was never told to close
- beside the object: it closed, and the object never left the table by LIFTED_M
- in the hand: at the end the fingers still touch it
- beside the target: it lies within BESIDE_M of the target's middle
- dropped: it lies farther away

`off, mm`: how far beside the object's middle, across the table, the hand was when it first closed; the median and the
largest. `another first`: in how many scenes, and in how many of those that failed, another object left the table first.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from mqe_core.closed_loop.evaluate import EvaluationSettings
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.control_loop import ControlLoop, StepResult
from mqe_core.runtime.onnx_policy import OnnxPolicy
from mqe_core.runtime.policy_side import PolicySide
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_sim.scene import SimScene
from mqe_sim.tasks.place import PlaceTask

SPEC = load_robot_spec()
SHIPPED = Path(__file__).parents[1] / "ros2_ws" / "src" / "mqe_bringup" / "policies" / "widowx_sim.onnx"
LIFTED_M, BESIDE_M = 0.02, 0.07
WAYS = ("placed", "never closed", "beside the object", "in the hand", "beside the target", "dropped")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", type=Path, nargs="?", default=SHIPPED, metavar="POLICY")
    parser.add_argument("--task", choices=("place2", "place3", "place4"), default="place4")
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--seed", type=int, default=2000)
    args = parser.parse_args()
    bundle = PolicyBundle.open(args.policy, SPEC)
    print(f"| stage of {args.task} | {' | '.join(WAYS)} | off, mm | another first |\n|---|{'---|' * len(WAYS)}---|---|")
    for stage in range(int(args.task.removeprefix("place"))):
        settings = EvaluationSettings(task=args.task, episodes=args.scenes, seed=args.seed, stage=stage)
        ways, offsets, firsts = zip(*(play(bundle, settings, scene_seed) for scene_seed in settings.scene_seeds))
        counted = Counter(ways)
        off = 1000 * np.array([offset for offset in offsets if offset is not None])
        off_mm = f"{np.median(off):.0f}, {off.max():.0f}" if len(off) else "–"
        failed = [first for way, first in zip(ways, firsts) if way != "placed"]
        counts = " | ".join(str(counted[way]) for way in WAYS)
        print(f"| {stage + 1} | {counts} | {off_mm} | {sum(firsts)}, {sum(failed)} |", flush=True)


def play(bundle: PolicyBundle, settings: EvaluationSettings, scene_seed: int) -> tuple[str, float | None, bool]:
    """One of WAYS; how far beside the object the hand first closed, m, None where it never did; and whether another
    object left the table first.
    """
    scene = settings.make_scene(SPEC, scene_seed)
    assert isinstance(scene, SimScene) and settings.stage is not None
    try:
        task = scene.tabletop
        assert isinstance(task, PlaceTask)
        thing, target = task.objects[settings.stage], task.targets[settings.stage]
        onnx_policy = OnnxPolicy(bundle)
        side = PolicySide(onnx_policy, SPEC, scene.clock, gripper=onnx_policy.gripper_rule(), session="failures")
        side.set_goal(scene.goal, "sim")
        starts_m = np.array([task.world.position(body)[2] for body in task.objects])
        lifted: list[int] = []  # objects, in the order in which they left the table
        offsets: list[float] = []

        def note(step: StepResult) -> bool:
            heights_m = np.array([task.world.position(body)[2] for body in task.objects])
            lifted.extend(i for i in np.flatnonzero(heights_m - starts_m >= LIFTED_M) if i not in lifted)
            position = task.world.position(thing)
            if step.answer is not None and step.answer.gripper < 0.5:
                offsets.append(float(np.linalg.norm(step.state.pose[:2, 3] - position[:2])))
            return False

        robot = SafeRobot(scene.robot, SPEC, scene.clock)
        ControlLoop(robot, scene.camera, side, scene.clock, SPEC.control.control_hz).run(scene.max_steps, note)
        task.settle()
        beside = np.linalg.norm(task.world.position(thing)[:2] - task.world.position(target)[:2])
        touched = task.world.arm.finger_contacts(thing) > 0
        ways = (
            task.placed(settings.stage),
            not offsets,
            settings.stage not in lifted,
            touched,
            beside < BESIDE_M,
            True,
        )
        another_first = bool(lifted) and lifted[0] != settings.stage
        return WAYS[ways.index(True)], offsets[0] if offsets else None, another_first
    finally:
        scene.close()


if __name__ == "__main__":
    main()
