"""Whether a policy does what its goal picture shows, and nothing else:

    python -m benchmarks.exactly_asked POLICY... [--task place2] [--wanted 1] [--scenes 50] [--choice random]

The goal shows so many of the task's objects on their targets, drawn by the scene's number, and the others where they
lay. A scene counts where those were placed and no other was moved by 3 cm. It is played as by `mqe eval`, in the same
held-out scenes, but ends once what is asked for has been done for 15 steps. Intervals are 95 %.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.true_states_play import DONE_STEPS, Asked, moved
from mqe_core.closed_loop.intervals import wilson_interval
from mqe_core.closed_loop.random_choice import RandomChoice
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.choice import CHOICES, check_choice
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.control_loop import ControlLoop, StepResult
from mqe_core.runtime.onnx_policy import OnnxPolicy
from mqe_core.runtime.policy_side import PolicySide
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED
from mqe_sim.camera import FRAME_HEIGHT, FRAME_WIDTH
from mqe_sim.robot import BulletCamera, BulletRobot
from mqe_sim.scene import SimClock
from mqe_sim.tasks.place import PlaceTask
from mqe_sim.world import World

SPEC = load_robot_spec()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policies", type=Path, nargs="+", metavar="POLICY")
    parser.add_argument("--task", default="place2")
    parser.add_argument("--wanted", type=int, default=1, help="how many objects the goal shows moved")
    parser.add_argument("--scenes", type=int, default=50)
    parser.add_argument("--choice", choices=CHOICES, default=CHOICES[0])
    args = parser.parse_args()
    for file in args.policies:
        bundle = PolicyBundle.open(file, SPEC)
        check_choice(args.choice, bundle.contract.chooses)
        seeds = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + args.scenes)
        played = np.array([play(bundle, args.task, seed, args.wanted, args.choice) for seed in seeds])
        exact, done, strayed = played[:, 0] * (played[:, 1] == 0), played[:, 0], played[:, 1] > 0
        low, high = wilson_interval(int(exact.sum()), len(exact))
        print(
            f"{file.name}, {args.choice}: exactly {exact.mean():.2f} ({low:.2f}-{high:.2f}), done {done.mean():.2f}, "
            f"another moved {strayed.mean():.2f}, of {len(exact)}"
        )


def play(bundle: PolicyBundle, task_name: str, seed: int, wanted: int, choice: str) -> tuple[float, int]:
    """Whether all that was asked for was done in scene `seed`, and how many other objects were moved."""
    asked = Asked(wanted=wanted)
    world = World(SPEC)
    asked.of(task_name, world, seed).solve()
    goal = world.render(FRAME_WIDTH, FRAME_HEIGHT)
    world.close()
    world = World(SPEC)
    try:
        task = asked.of(task_name, world, seed)
        assert isinstance(task, PlaceTask)
        others = np.setdiff1d(range(len(task.objects)), task.wanted)
        begin, done_steps = task.things_m(), 0

        def is_over(_: StepResult) -> bool:
            nonlocal done_steps
            done_steps = done_steps + 1 if all(task.placed(number) for number in task.wanted) else 0
            return done_steps == DONE_STEPS

        clock = SimClock(world)
        robot = SafeRobot(BulletRobot(SPEC, clock=clock, world=world), SPEC, clock)
        policy = OnnxPolicy(bundle)
        asks = RandomChoice(policy, seed) if choice == "random" else policy
        side = PolicySide(asks, SPEC, clock, gripper=policy.gripper_rule(), session="evaluation")
        side.set_goal(goal, bundle.contract.domain, anyway=True)
        camera = BulletCamera(SPEC, clock=clock, world=world)
        ControlLoop(robot, camera, side, clock, SPEC.control.control_hz).run(task.max_steps, is_over)
        task.settle()
        return float(task.score() == len(task.wanted)), moved(begin, task.things_m(), others)
    finally:
        world.close()


if __name__ == "__main__":
    main()
