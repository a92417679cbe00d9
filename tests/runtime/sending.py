"""Sending commands to a robot behind the safety filter; `robot`, `command` and `clock` are conftest.py's."""

from __future__ import annotations

import numpy as np


def refused(robot, command, **fields) -> str | None:
    """Rule that refuses a command with these fields; the arm's target must then be what it was."""
    before = robot.observe()
    sent = robot.send(command(before, **fields))
    after = robot.observe()
    if sent.refused is not None:
        np.testing.assert_array_equal(after.target_pose, before.target_pose)
        assert after.target_gripper == before.target_gripper and sent.joints is None and sent.detail
    return sent.refused


def walk(robot, command, clock, move, steps: int, **fields) -> list:
    results = []
    for _ in range(steps):
        clock.advance(0.2)
        results.append(robot.send(command(robot.observe(), move=move, **fields)))
    return results
