"""An operator who is a script: he watches a policy in a scene of the sim, takes over by a pad, and marks episodes."""

from __future__ import annotations

import contextlib
import time

import numpy as np

from mqe_bringup.episodes import mark
from mqe_bringup.operator_node import Operator
from mqe_bringup.scripted_pad import ScriptedPad, deflections
from mqe_bringup.takeover_day import LONGEST_S, STILL_S
from mqe_core import ros_names
from mqe_core.robot.episode_marks import DISCARD, LABEL, START, STOP
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.teleop.devices import FASTER, GRIPPER, load_devices
from mqe_interfaces.action import ReachGoal
from mqe_interfaces.msg import ArmStatus
from mqe_ros import convert, topics
from mqe_ros.goal_client import GoalClient, SentGoal
from mqe_sim.client import Client

_START_S = 60.0  # for the graph's processes
_TAKING_S = 15.0  # from the press of the dead-man to the arm's word that it is his
_LOOK_S = 0.1  # how often he looks where things are
_AGAIN_S = 1.0  # before a button is pressed again that has had no effect
_OPEN = 0.9  # a gripper that was sent farther open than that is open
_STOPPED = (ArmStatus.HELD, ArmStatus.FAULT)


class _EnoughError(Exception):
    """He has seen enough of the policy."""


class ScriptedOperator:
    """Acts in the graph that `asking` speaks with, and in its scene. RuntimeError or TimeoutError where that does not
    do what it is asked.
    """

    def __init__(self, asking: Operator, scene: Client) -> None:
        self._asking, self._scene = asking, scene
        self._devices, self._period_s = load_devices(), load_robot_spec().control.period_s
        self._arm: list[ArmStatus] = asking.hear(topics.ARM_STATUS)
        self._pad = ScriptedPad(asking.node, self._devices)
        self._goals = GoalClient(asking.node, asking.listen, self._watch_once)
        self._goal: SentGoal | None = None
        self._seen_until = self._looked = self._resumed = -np.inf
        self._solved = False
        for there, who in (
            (self._goals.is_there, "the policy node"),
            (lambda: self._arm, "the arm's node"),
            (self._pad.is_heard, "the pad's node"),
        ):
            asking.wait(there, f"{who} did not start within {_START_S:.0f} s; see the logs", _START_S)
        self._services = {name: asking.connect(name) for name in (ros_names.HOLD, ros_names.RESUME)}
        self._rest(0.3)  # it has seen the pad at rest
        for _ in self._devices.speeds:
            self._press(FASTER)

    def begin_episode(self) -> None:
        mark(self._asking, START)

    def watch(self, patience_s: float) -> bool:
        """Let the policy pursue the scene's goal. Returns whether it solved the scene; else it is still at it."""
        goal = convert.array_to_image(self._scene.goal(), self._asking.node.get_clock().now().to_msg(), "camera")
        self._goal = self._goals.send(ReachGoal.Goal(goal_image=goal, timeout_s=10.0 * patience_s), _START_S)
        self._seen_until, self._solved = time.monotonic() + patience_s, False
        try:
            ended = self._goal.result(20.0 * patience_s)
        except _EnoughError:
            return self._solved
        self._goal = None
        raise RuntimeError(f"the policy node ended the goal as {ended.outcome}: {ended.reason}")

    def take_over(self) -> bool:
        """Take the arm and do the task. Returns whether he did."""
        end = time.monotonic() + LONGEST_S
        self._hold_dead_man()
        pressed = -np.inf
        while time.monotonic() < end:
            step = self._scene.oracle()
            if step.done:
                break
            self._pad.motion = deflections(step.action, self._devices, self._period_s)
            is_open = self._arm[-1].target_gripper > _OPEN
            if (step.action[6] > 0.5) != is_open and time.monotonic() - pressed > _AGAIN_S:
                pressed = time.monotonic()
                self._press(GRIPPER)
            self._rest(_LOOK_S)
            if self._arm[-1].state in _STOPPED:
                self._hold_dead_man()
        self._pad.motion = np.zeros(6)
        self._rest(STILL_S)
        return self._scene.oracle().solved

    def end_episode(self, keep: bool) -> None:
        """Mark it, let go, and end the policy's goal. The arm is held."""
        mark(self._asking, STOP if keep else DISCARD)
        if keep:
            mark(self._asking, LABEL, self._scene.info()["language"])
        self._asking.trigger(self._services[ros_names.HOLD])
        self._pad.down.clear()
        if self._goal is not None:
            self._goal.cancel(_START_S)
            self._goal = None

    def next_scene(self, task: str, seed: int) -> None:
        """Lay the table anew while the arm is held, and give it back to the policy."""
        self._scene.reset(task, seed)
        self._rest(1.0)
        self._asking.trigger(self._services[ros_names.RESUME])

    def _watch_once(self) -> None:
        self._asking.listen()
        now = time.monotonic()
        if self._arm[-1].state in _STOPPED and now - self._resumed > _AGAIN_S:
            self._resume()
        if now - self._looked > _LOOK_S:
            self._looked, self._solved = now, self._scene.oracle().solved
        if self._solved or now > self._seen_until:
            raise _EnoughError

    def _hold_dead_man(self) -> None:
        """Press it, and again where that has no effect, as where the pad was lost for a moment."""
        self._pad.motion = np.zeros(6)
        end = time.monotonic() + _TAKING_S
        while not self._has_arm():
            if time.monotonic() > end:
                raise RuntimeError(f"the arm did not become the operator's within {_TAKING_S:.0f} s")
            self._pad.down.clear()
            self._rest(0.3)
            if self._arm[-1].state in _STOPPED and self._arm[-1].commander != ArmStatus.OPERATOR:
                self._resume()
            self._pad.down.add("dead_man")
            again = time.monotonic() + _AGAIN_S
            while not self._has_arm() and time.monotonic() < again:
                self._asking.listen()

    def _has_arm(self) -> bool:
        newest = self._arm[-1]
        return newest.commander == ArmStatus.OPERATOR and newest.state == ArmStatus.MOVING

    def _resume(self) -> None:
        """After a hold that nobody asked for, as on a busy machine; what is not over yet is tried again."""
        self._resumed = time.monotonic()
        with contextlib.suppress(RuntimeError):
            self._asking.trigger(self._services[ros_names.RESUME])

    def _press(self, button: str) -> None:
        self._pad.down.add(button)
        self._rest(0.15)
        self._pad.down.discard(button)
        self._rest(0.1)

    def _rest(self, seconds: float) -> None:
        """Listen, and let the pad publish."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._asking.listen()
