"""A day of takeovers in simulated time, in one process: what the nodes are made of; and the recorder's bag."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Joy
from std_msgs.msg import Header

from mqe_bringup.scripted_pad import deflections, places
from mqe_bringup.takeover_day import LONGEST_S, NOBODY, OPERATOR, POLICY, STILL_S, SceneOutcome
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.domain import SIM, check_domain
from mqe_core.robot import ranks
from mqe_core.robot.episode_marks import DISCARD, LABEL, START, STOP, EpisodeBook
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.arm_side import ArmSide
from mqe_core.runtime.onnx_policy import OnnxPolicy
from mqe_core.runtime.policy_side import PolicySide
from mqe_core.runtime.robot import Command, RobotState
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_core.runtime.teleop.dead_man import DeadMan
from mqe_core.runtime.teleop.devices import GRIPPER, load_devices
from mqe_core.runtime.teleop.operator_side import OperatorSide, per_period
from mqe_core.runtime.teleop.pad import Pad
from mqe_ros import convert, topics
from mqe_ros.bag_writer import BagWriter
from mqe_ros.record_node import own_typestore, type_name
from mqe_ros.topics import Topic
from mqe_sim.oracles import make_oracle
from mqe_sim.scene import SimScene

_PAD_AGE_S = 0.25  # as teleop_node's
_FULL_SPEED = 1.0
_BETWEEN_SCENES_S = 5.0
_BAG_BYTES = 2**31
_OPEN = 0.9  # a gripper that was sent farther open than that is open


class SimulatedDay:
    """Each scene has a world of its own, and begins where the recording's time has got to.

    Raises BundleError for a policy that must not be used, ValueError for one that knows real images only.
    """

    def __init__(self, policy: Path, task: str, out: Path) -> None:
        self._spec = load_robot_spec()
        self._bundle = PolicyBundle.open(policy, self._spec)
        check_domain(self._bundle.contract.domain, SIM, "the simulator")
        self._task = task
        out.mkdir(parents=True, exist_ok=True)
        self._recording = _Recording(out / "bag", time.time())

    def play(self, seed: int, patience_s: float) -> SceneOutcome:
        with contextlib.closing(SimScene(self._spec, self._task, seed)) as scene:
            episode = _Episode(scene, self._bundle, self._recording, seed)
            return episode.play(seed, patience_s)

    def close(self) -> None:
        self._recording.close()


class _Recording:
    """What record_node would write, at simulated times from `begin` (s since 1970) on."""

    def __init__(self, folder: Path, begin: float) -> None:
        kinds = [(topic.name, type_name(topic.type)) for topic in (*topics.RECORDED, topics.EPISODE_STATUS)]
        self._bags = BagWriter(folder, kinds, own_typestore(), _BAG_BYTES, latched=[topics.GOAL_IMAGE.name])
        self._begin, self._now = begin, begin
        self._book = EpisodeBook()

    def next_scene(self, scene_s: float) -> None:
        """A scene whose clock stands at `scene_s` begins a while after what was recorded last."""
        self._begin = self._now + _BETWEEN_SCENES_S - scene_s

    def stamp(self, scene_s: float):
        """The stamp of a moment of the scene's clock."""
        return convert.stamp(round(1e9 * (self._begin + scene_s)))

    def write(self, topic: Topic, scene_s: float, message: object) -> None:
        """OSError where the disk takes no more."""
        self._now = self._begin + scene_s
        self._bags.write(topic.name, round(1e9 * self._now), serialize_message(message))
        if self._bags.failure:
            raise OSError(self._bags.failure)

    def mark(self, mark: str, scene_s: float, label: str = "") -> None:
        self._book.mark(mark, label, self._begin + scene_s)
        self.write(topics.EPISODE_STATUS, scene_s, convert.episode_status(self._book, mark, self.stamp(scene_s)))

    def close(self) -> None:
        self._bags.close()


class _Episode:
    """One scene, with a policy and an operator, step by step."""

    def __init__(self, scene: SimScene, bundle: PolicyBundle, recording: _Recording, seed: int) -> None:
        self._scene, self._recording, self._clock = scene, recording, scene.clock
        self._spec = spec = load_robot_spec()
        self._arm = ArmSide(SafeRobot(scene.robot, spec, self._clock), self._clock)
        policy = OnnxPolicy(bundle)
        gripper = policy.gripper_rule()
        self._policy = PolicySide(policy, spec, self._clock, gripper=gripper, session=f"{ranks.POLICY}-{seed}")
        self._devices = load_devices()
        self._pad = Pad(self._devices.pad("gamepad"), self._devices)
        self._dead_man = DeadMan(_PAD_AGE_S)
        self._operator = OperatorSide(spec, self._clock, f"{ranks.OPERATOR}-{seed}")
        self._oracle = make_oracle(scene.tabletop, np.random.default_rng(seed), noise=0.0, events=False)
        self._was_engaged = False
        self._due = self._clock.now()

    def play(self, seed: int, patience_s: float) -> SceneOutcome:
        recording, clock, scene = self._recording, self._clock, self._scene
        recording.next_scene(clock.now())
        begin = clock.now()
        self._write(topics.GOAL_IMAGE, convert.array_to_image(scene.goal, recording.stamp(begin), "camera"))
        said = DiagnosticStatus(name="policy_node: control", values=[KeyValue(key="domain", value=SIM)])
        self._write(topics.DIAGNOSTICS, DiagnosticArray(status=[said]))
        self._policy.set_goal(scene.goal, SIM, anyway=True)
        recording.mark(START, begin)
        for _ in self._steps(patience_s):
            self._step(holds_dead_man=False)
        if self._is_solved():
            recording.mark(DISCARD, clock.now())
            return SceneOutcome(seed, POLICY, round(clock.now() - begin, 1), 0.0)
        taken = clock.now()
        for _ in self._steps(LONGEST_S, until_done=True):
            self._step(holds_dead_man=True)
        self._stay()
        solved = scene.score() >= scene.max_score
        recording.mark(STOP if solved else DISCARD, clock.now())
        if solved:
            recording.mark(LABEL, clock.now(), scene.tabletop.language)
        times = round(taken - begin, 1), round(clock.now() - taken, 1)
        return SceneOutcome(seed, OPERATOR if solved else NOBODY, *times)

    def _steps(self, seconds: float, until_done: bool = False) -> Iterator[None]:
        """Control steps, until the scene is solved; `until_done`: and the script has ended."""
        end = self._clock.now() + seconds
        while self._clock.now() < end and not (self._oracle.done if until_done else self._is_solved()):
            yield

    def _stay(self) -> None:
        end = self._clock.now() + STILL_S
        while self._clock.now() < end:
            self._step(holds_dead_man=True, moves=False)

    def _is_solved(self) -> bool:
        return self._scene.tabletop.score() >= self._scene.max_score

    def _step(self, holds_dead_man: bool, moves: bool = True) -> None:
        """One control period: what is seen, the policy's command, the operator's, and the arm's word."""
        self._clock.sleep_until(self._due)
        self._due += self._spec.control.period_s
        stamp = self._recording.stamp(self._clock.now())
        report = self._arm.tick()
        frame, state = self._scene.camera.read(), self._arm.robot.observe()
        assert frame is not None  # a world in this process always shows one
        picture = convert.array_to_image(frame.image, stamp, "camera")
        base = self._spec.base_frame
        self._write(topics.IMAGE, picture)
        self._write(topics.EE_POSE, convert.stamped_pose(state.pose, stamp, base))
        self._write(topics.EE_TARGET, convert.stamped_pose(state.target_pose, stamp, base))
        self._write(topics.JOINT_STATES, convert.joint_state(state, self._spec, stamp))
        self._write_status(report.answer, state.target_gripper)

        self._operate(holds_dead_man, moves, state)  # first: he outranks the policy, whose command is then refused
        decision = self._policy.compute(frame, state.pose, state.target_pose)
        if decision.asked is not None and decision.output is not None:
            output, seen = decision.output, convert.observation(picture)
            said = convert.command_to_message(decision.asked, output.action, output.steps_to_goal, stamp, seen)
            self._write(topics.COMMAND, said)
            self._send(decision.asked, ranks.POLICY)

    def _operate(self, holds_dead_man: bool, moves: bool, state: RobotState) -> None:
        """The pad's message, and the command that comes of it."""
        now, stamp = self._clock.now(), self._recording.stamp(self._clock.now())
        action = self._oracle.act(state.target_pose, state.pose) if holds_dead_man and moves else np.zeros(7)
        down = {"dead_man"} if holds_dead_man else set()
        if holds_dead_man and moves and (action[6] > 0.5) != (state.target_gripper > _OPEN):
            down.add(GRIPPER)
        motion = deflections(action, self._devices, self._spec.control.period_s)
        axes, buttons = places(self._pad.spec, self._devices.dead_zone, motion, down)
        self._write(topics.JOY, Joy(header=Header(stamp=stamp, frame_id="joy"), axes=axes, buttons=buttons))
        pressed = self._dead_man.hear(self._pad.read(axes, buttons), now)
        wish = self._dead_man.wish(now)
        if wish.engaged:
            if not self._was_engaged:
                self._operator.begin()
            if GRIPPER in pressed:
                self._operator.toggle_gripper(state.target_gripper)
            motion = per_period(wish.motion, self._devices, _FULL_SPEED, self._spec.control.period_s)
            command, action = self._operator.command(motion, state.target_pose, state.pose, state.target_gripper)
            said = convert.command_to_message(command, action, None, stamp, convert.NO_OBSERVATION)
            self._write(topics.OPERATOR_COMMAND, said)
            self._send(command, ranks.OPERATOR)
        self._was_engaged = wish.engaged

    def _send(self, asked: Command, rank: str) -> None:
        answer = self._arm.receive(asked, rank)
        state = self._arm.robot.observe()
        self._write_status(answer, state.target_gripper)
        if answer.refused is None:
            stamp = self._recording.stamp(self._clock.now())
            self._write(topics.EE_TARGET, convert.stamped_pose(answer.pose, stamp, self._spec.base_frame))

    def _write_status(self, newest: Command | None, target_gripper: float) -> None:
        stamp = self._recording.stamp(self._clock.now())
        self._write(topics.ARM_STATUS, convert.arm_status(self._arm, newest, target_gripper, False, stamp))

    def _write(self, topic: Topic, message: object) -> None:
        self._recording.write(topic, self._clock.now(), message)
