"""A gripper that is closed in steps on something hard stops at the limit of its force; one that is closed at once has
its motor's.
"""

from __future__ import annotations

import numpy as np

from mqe_core.robot.geometry import TOOL_DOWN, make_pose
from mqe_core.robot.kinematics import inverse_kinematics
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.backends import make_scene
from mqe_core.runtime.robot import Command
from mqe_core.runtime.safety.safe_robot import SafeRobot

SPEC = load_robot_spec()


def test_fingers_on_a_cube_are_not_closed_beyond_their_force():
    scene = make_scene("sim", SPEC, "place1", 0)
    robot, clock, world = SafeRobot(scene.robot, SPEC, scene.clock), scene.clock, scene.tabletop.world
    cube = world.position(scene.tabletop.objects[0])
    for height in (0.10, 0.02):
        joints = inverse_kinematics(SPEC, make_pose(TOOL_DOWN, np.array([*cube[:2], height])), world.arm.joints())
        world.arm.command(joints, 1.0)
        clock.sleep_until(clock.now() + 2.0)
    robot.rebase()
    target, forces, openings = robot.observe().target_pose, [], []
    for number, gripper in enumerate([*np.arange(0.95, -0.01, -0.05), 1.0]):
        sent = robot.send(Command(target, float(gripper), clock.now(), "test", number, SPEC.base_frame))
        assert sent.refused is None
        openings.append(sent.gripper)
        clock.sleep_until(clock.now() + 0.4)
        forces.append(robot.observe().gripper_effort_n)
    scene.close()
    assert abs(forces[0]) < 0.5  # nothing to squeeze yet
    assert max(forces) > SPEC.gripper.max_closing_effort_n and robot.counts["gripper_effort"] >= 5
    assert (
        openings[-2] > 0.2
    )  # it was asked to close altogether; how far depends on when the solver's force dips below the limit
    assert openings[-1] == 1.0 and abs(forces[-1]) < 0.5  # it opens again
