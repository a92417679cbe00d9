"""Promise: the keys that the tutorial by hand names open the drawer of its scene. In simulated time, key by key, by
what `mqe teleop` is made of.
"""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

pytest.importorskip("pybullet")

from mqe_core.policy.goals import read_goal
from mqe_core.robot.ranks import OPERATOR
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.arm_side import ArmSide
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_core.runtime.teleop.devices import EPISODE, GRIPPER, load_devices
from mqe_core.runtime.teleop.keys import KeyMap
from mqe_core.runtime.teleop.operator_side import OperatorSide, Speeds
from mqe_sim.scene import SimScene
from tests.docs.test_tutorials import ROOT, keys_of

GOAL = ROOT / "ros2_ws" / "src" / "mqe_bringup" / "goals" / "drawer_place.png"
KEY_S = 0.8  # from key to key: the gripper needs that long


def test_the_keys_of_the_page_open_the_drawer() -> None:
    spec, goal, devices = load_robot_spec(), read_goal(GOAL), load_devices()
    keys, share = KeyMap(devices), Speeds(devices).share
    assert goal.task is not None and goal.seed is not None
    with closing(SimScene(spec, goal.task, goal.seed)) as scene:
        arm = ArmSide(SafeRobot(scene.robot, spec, scene.clock), scene.clock)
        side = OperatorSide(spec, scene.clock)
        for key in keys_of(ROOT / "docs" / "tutorial-operator.md"):
            pressed = keys.read(key)
            assert pressed is not None and pressed.act in (None, GRIPPER, EPISODE)
            if pressed.act != EPISODE:
                now = scene.robot.observe()
                if pressed.act == GRIPPER:
                    side.toggle_gripper(now.target_gripper)
                motion = pressed.motion * share
                command, _ = side.command(motion, now.target_pose, now.pose, now.target_gripper)
                answer = arm.receive(command, OPERATOR)
                assert answer.refused is None, (key, answer.detail)
                np.testing.assert_allclose(answer.pose, command.pose, atol=1e-9)  # and nothing is clipped
            scene.clock.sleep_until(scene.clock.now() + KEY_S)
            arm.tick()
        assert scene.score() == 1.0 and scene.max_score == 2.0  # the cube is still on the table
