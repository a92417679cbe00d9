"""`mqe teleop`: the keys of a terminal move the arm of a running graph, a bounded step at each press.

It runs as `python -m mqe_bringup.keyboard [DEVICES]`.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray

from mqe_bringup.episodes import mark
from mqe_bringup.operator_node import PATIENCE_S, Operator
from mqe_bringup.progress_line import state_and_reason
from mqe_core import ros_names
from mqe_core.robot.episode_marks import DISCARD, START, STOP
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.robot import MonotonicClock
from mqe_core.runtime.teleop.devices import EPISODE, FASTER, GRIPPER, HOLD, SLOWER, load_devices
from mqe_core.runtime.teleop.keys import KeyMap, Pressed
from mqe_core.runtime.teleop.operator_side import OperatorSide, Speeds
from mqe_interfaces.msg import ArmStatus, EpisodeStatus
from mqe_ros import convert, topics
from mqe_ros.arm_answers import ArmAnswers
from mqe_ros.arm_inputs import ArmInputs
from mqe_ros.episode_marker import recording_failure
from mqe_ros.publishers import OnePublisher
from mqe_ros.topics import Topic

_MAX_POSE_AGE_S = 0.5
_READ_BYTES = 256
_INTERRUPTED = 130
_ENDS = "Ctrl-C ends it. One press is one step; all that you send goes through the filter."


class _Node:
    """The operator's node, as `ArmInputs` listens by it."""

    def __init__(self, operator: Operator) -> None:
        self._node = operator.node

    def subscribe_to(self, topic: Topic, callback) -> None:
        self._node.create_subscription(topic.type, topic.name, callback, topic.qos)

    def one_publisher(self, topic: Topic) -> OnePublisher:
        return OnePublisher(self._node, topic.name)


class Keys:
    """One operator at a terminal: `press` is called for each key, `step` again and again."""

    def __init__(self, operator: Operator, devices_file: Path | None) -> None:
        self._operator, self._spec = operator, load_robot_spec()
        devices = load_devices(devices_file)
        self.map = KeyMap(devices)
        self._speeds = Speeds(devices)
        self._side = OperatorSide(self._spec, MonotonicClock())
        self._status: ArmStatus | None = None
        self._pending: np.ndarray | None = None  # a step that waits for its control period
        self._sent = -float("inf")
        self._answers = ArmAnswers(self._side.session)
        self._told, self._told_refusal, self._told_failure = "", "", ""
        self._is_open = False  # an episode of the recording
        # Before the subscriptions: where their messages come, arm_node most likely knows of it as well.
        self._command = operator.node.create_publisher(
            topics.OPERATOR_COMMAND.type, topics.OPERATOR_COMMAND.name, topics.OPERATOR_COMMAND.qos
        )
        node = _Node(operator)
        self._arm = ArmInputs(node, self._spec, _MAX_POSE_AGE_S)
        node.subscribe_to(topics.ARM_STATUS, self._hear)
        node.subscribe_to(topics.EPISODE_STATUS, self._hear_episodes)
        node.subscribe_to(topics.DIAGNOSTICS, self._hear_diagnostics)
        self._services = {HOLD: operator.connect(ros_names.HOLD)}
        operator.find(lambda: self._status, "arm_node")

    def knows_pose(self) -> bool:
        """Whether a press would be sent: it moves from the arm's pose."""
        try:
            self._arm.read()
        except ValueError:
            return False
        return True

    def press(self, pressed: Pressed) -> None:
        if pressed.act in (FASTER, SLOWER):
            self._speeds.change(1 if pressed.act == FASTER else -1)
            _say(f"speed {self._speeds.share:.2f}")
        elif pressed.act == GRIPPER:
            assert self._status is not None  # waited for
            self._side.toggle_gripper(self._status.target_gripper)
            self._pending = np.zeros(6)
        elif pressed.act == EPISODE:
            self._mark(STOP if self._is_open else START)
        elif pressed.act == DISCARD:
            self._mark(DISCARD)
        elif pressed.act is not None:
            self._pending = None
            self._ask(pressed.act)
        elif self._pending is None:
            self._pending = pressed.motion * self._speeds.share

    def step(self) -> None:
        """Send what waits, once its control period has come, and tell what the arm says that is new."""
        if self._pending is not None and time.monotonic() - self._sent >= self._spec.control.period_s:
            motion, self._pending, self._sent = self._pending, None, time.monotonic()
            try:
                self._send(motion)
            except ValueError as error:
                _say(f"nothing is sent: {error}")
        said = "" if self._status is None else state_and_reason(self._status)
        if said != self._told:
            self._told = said
            _say(f"the arm is {said}")
        _, refusal = self._answers.refused
        if refusal != self._told_refusal:
            self._told_refusal = refusal
            if refusal:
                _say(refusal)

    def _send(self, motion: np.ndarray) -> None:
        poses = self._arm.read()
        if several := self._arm.problem():
            raise ValueError(several)
        self._arm.check(poses)
        assert self._status is not None  # waited for
        command, action = self._side.command(motion, poses.target, poses.measured, self._status.target_gripper)
        self._answers.send(command.sequence)
        stamp = self._operator.node.get_clock().now().to_msg()
        self._command.publish(convert.command_to_message(command, action, None, stamp, convert.NO_OBSERVATION))

    def _ask(self, act: str) -> None:
        try:
            if act not in self._services:
                self._services[act] = self._operator.connect(getattr(ros_names, act.upper()))
            _say(self._operator.trigger(self._services[act]))
        except (RuntimeError, OSError) as error:
            _say(f"{act}: {error}")

    def _mark(self, name: str) -> None:
        try:
            _say(mark(self._operator, name))
        except (RuntimeError, OSError) as error:
            _say(f"episode {name}: {error}")

    def _hear_episodes(self, status: EpisodeStatus) -> None:
        self._is_open = status.open

    def _hear_diagnostics(self, diagnostics: DiagnosticArray) -> None:
        failure = recording_failure(diagnostics)
        if failure and failure != self._told_failure:
            self._told_failure = failure
            _say(failure)

    def _hear(self, status: ArmStatus) -> None:
        # Once nobody has moved for a while, the gripper counts as the arm has it.
        if status.state != ArmStatus.MOVING:
            self._side.begin()
        self._status = status
        self._answers.hear(status)


@contextlib.contextmanager
def _typed() -> Iterator[int]:
    """stdin, without waiting for a line's end. RuntimeError where it is no terminal."""
    if not sys.stdin.isatty():
        raise RuntimeError("needs a terminal to read its keys from; a pad needs none: mqe up teleop:=joy")
    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)
    try:
        tty.setcbreak(file)
        yield file
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)


def _waiting(file: int) -> str:
    """The characters that were typed since; empty where none were."""
    ready, _, _ = select.select([file], [], [], 0.0)
    return os.read(file, _READ_BYTES).decode("utf-8", errors="replace") if ready else ""


def run(devices_file: Path | None) -> int:
    with Operator() as operator, _typed() as file:
        keys = Keys(operator, devices_file)
        # The keys are offered once the first press counts. An arm whose pose stays unknown can be held all the same.
        offered, patience_ends = False, time.monotonic() + PATIENCE_S
        try:
            while True:
                operator.listen_or_stop()
                if not offered and (keys.knows_pose() or time.monotonic() > patience_ends):
                    offered = True
                    _say(f"{keys.map.legend()}\n{_ENDS}")
                pressed = keys.map.read(_waiting(file))
                if pressed is not None and (offered or pressed.act == HOLD):
                    keys.press(pressed)
                keys.step()
        except KeyboardInterrupt:
            _say("ended; where the arm was moved it is held: mqe arm resume gives it back to the policy")
            return _INTERRUPTED


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    try:
        sys.exit(run(Path(sys.argv[1]) if sys.argv[1:] else None))
    except (ValueError, RuntimeError, OSError) as error:
        sys.stderr.write(f"mqe teleop: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("mqe teleop: interrupted\n")
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
