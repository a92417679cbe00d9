"""WidowXRobot: the real arm behind Interbotix's driver, as the backend `hardware`.

Joint targets are streamed at the control rate as group commands; the motors smooth them by a time profile that
is set once. Nothing here ever switches torque off or changes an operating mode: both let the arm fall
(interbotix_ros_core, xs_sdk).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import replace

import numpy as np

from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Clock, Command, MotorHealth, RobotState, unreadable_joints
from mqe_ros.gripper_loop import GripperLoop
from mqe_ros.joint_reading import JointReading
from mqe_ros.motor_health import ACCELERATION, ERRORS, TEMPERATURES, TORQUES, VELOCITY, MotorRegisters
from mqe_ros.xs_driver import ALL, ANSWER_S, ARM, GRIPPER, XsDriver

_OTHER_REGISTERS = (TEMPERATURES, TORQUES, VELOCITY, ACCELERATION)  # one of them at a time, besides the errors
_MAX_HEALTH_PERIODS = 3

logger = logging.getLogger(__name__)


class WidowXRobot:
    """Observes and drives one arm; a thread each for the gripper's force loop and for the motors' health.

    Until the first `send` nothing is written but the profile, so an object in the gripper of a restarted process stays
    in it. With `drive` off nothing is written at all, and `send` is refused. `clock` must be the machine's monotonic
    one: the driver's messages are stamped with it on receipt. RuntimeError where the driver is absent, silent, drives
    another arm, or is set up in a way that this backend cannot stream to; the text says what to change.
    """

    def __init__(self, spec: RobotSpec, *, clock: Clock, drive: bool = True) -> None:
        self._spec, self._clock, self._drive = spec, clock, drive
        self._has_sent = False
        self._driver = XsDriver(spec.hardware.driver_name)
        try:
            self._check_setup()
            if drive:
                self._set_profile()
            self._target_joints = self._joints(self._driver.reading())
            finger = self._driver.reading().finger
            if not math.isfinite(finger):
                raise RuntimeError("the driver publishes no left_finger; was it started with use_gripper:=true?")
            self._target_gripper = min(max(spec.gripper.gripper_value(finger), 0.0), 1.0)
            self._registers = MotorRegisters(spec, check_profile=drive)
            for register in (ERRORS, *_OTHER_REGISTERS):
                self._read(register)
            self._health, self._health_time = self._registers.health(), clock.now()
        except BaseException:
            self._driver.close()
            raise
        self._loop = GripperLoop(spec)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=run, name=run.__name__, daemon=True)
            for run in (self._drive_gripper, self._watch_motors)
        ]
        for thread in self._threads:
            thread.start()

    def observe(self) -> RobotState:
        """The newest state. RuntimeError where the driver reads nothing from the bus."""
        reading = self._driver.reading()
        joints = self._joints(reading)
        return RobotState(
            stamp=reading.received,
            joints=joints,
            gripper=self._spec.gripper.gripper_value(reading.finger),
            pose=forward_kinematics(self._spec, joints),
            target_pose=forward_kinematics(self._spec, self._target_joints),
            target_gripper=self._target_gripper,
            health=self._checked_health(),
        )

    def send(self, allowed: Command) -> Command:
        """Make the command's joints (rad) the motors' goal, and its gripper the force loop's; returns it as it is, at
        once. ValueError where it has no joints, or this arm was opened with `drive` off.
        """
        if allowed.joints is None:
            raise ValueError("a command without joints reached the backend; send it through make_robot's SafeRobot")
        if not self._drive:
            raise ValueError("this arm was opened to be observed only")
        self._driver.write_joints(np.asarray(allowed.joints).tolist())
        self._target_joints = np.array(allowed.joints, dtype=np.float64)
        self._target_gripper = float(allowed.gripper)
        self._has_sent = True
        return allowed

    def hold(self) -> None:
        """Nothing to send: the motors keep the last goal by themselves, and the gripper its grip."""

    def close(self) -> None:
        """Leave the motors as they are, with torque; the gripper at no more than its holding force."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=2.0)
        try:
            if self._has_sent:
                self._driver.write_gripper(self._loop.pwm(self._finger_target_m(), math.nan, self._clock.now()))
                time.sleep(0.05)  # the publisher sends from a thread of its own
        finally:
            self._driver.close()

    def _joints(self, reading: JointReading) -> np.ndarray:
        """(6,) rad, in the spec's order. RuntimeError where they are none, or may be another node's."""
        if problem := self._driver.problem():
            raise RuntimeError(problem)
        if reading.problem:
            raise RuntimeError(f"{reading.problem}; who publishes them? (ros2 topic info -v)")
        joints = np.array([reading.positions.get(name, math.nan) for name in self._spec.joint_names])
        unreadable = unreadable_joints(joints)
        if unreadable:
            raise RuntimeError(f"{unreadable}; power, cable? (docs/hardware.md)")
        return joints

    def _check_setup(self) -> None:
        """The driver must drive this arm, in the modes that its default files set."""
        arm, gripper = self._driver.info("group", ARM), self._driver.info("single", GRIPPER)
        if tuple(arm.joint_names) != self._spec.joint_names:
            raise RuntimeError(
                f"the driver's arm has joints {', '.join(arm.joint_names)}, the robot spec {self._spec.name} has "
                f"{', '.join(self._spec.joint_names)}; start it with robot_model:={self._spec.hardware.driver_name}"
            )
        found, needed = (arm.mode, arm.profile_type, gripper.mode), ("position", "time", "pwm")
        if found != needed:
            raise RuntimeError(
                "the driver runs arm mode {!r} with profile type {!r} and gripper mode {!r}; ".format(*found)
                + "needed: {!r}, {!r}, {!r}. ".format(*needed)
                + "Changing a mode drops the arm, so it is not done from here: put it to sleep, "
                "and start the driver with its default mode_configs"
            )

    def _set_profile(self) -> None:
        """Smooth steps at the control rate. The acceleration first: it may not exceed half the moving time."""
        control = self._spec.control
        self._driver.set_register(ARM, ACCELERATION, round(1000 * control.profile_accel_time_s))
        self._driver.set_register(ARM, VELOCITY, round(1000 * control.profile_moving_time_s))

    def _finger_target_m(self) -> float:
        return self._spec.gripper.finger_position_m(self._target_gripper)

    def _checked_health(self) -> MotorHealth:
        """What was read last; not ok where reading it has ended, or the gripper's loop has."""
        age = self._clock.now() - self._health_time
        if age > _MAX_HEALTH_PERIODS * self._spec.hardware.health_period_s + ANSWER_S:
            return MotorHealth(ok=False, reason=f"the motors' registers have not been read for {age:.0f} s")
        if not all(thread.is_alive() for thread in self._threads):
            return MotorHealth(
                ok=False,
                reason="a part of this process that looks after the motors has ended; see its log, and start it again",
            )
        degrees = self._health.temperatures_c
        return self._health if degrees is None else replace(self._health, temperatures_c=degrees.copy())

    def _drive_gripper(self) -> None:
        period = 1.0 / self._spec.hardware.gripper_loop_hz
        while not self._stopping.wait(period):
            if not self._has_sent:
                continue
            now, reading = self._clock.now(), self._driver.reading()
            try:
                self._joints(reading)  # where the arm reads as a dead bus, so does the finger
                fresh = now - reading.received <= self._spec.control.max_joint_state_age_s
            except RuntimeError:
                fresh = False
            finger = reading.finger if fresh else math.nan
            try:
                self._driver.write_gripper(
                    self._loop.pwm(self._finger_target_m(), finger, now, gently=not self._health.ok)
                )
            except Exception:  # the thread must outlive one failed message; if all fail, the motors' health says so
                logger.exception("gripper")

    def _watch_motors(self) -> None:
        k = 0
        while not self._stopping.wait(self._spec.hardware.health_period_s):
            try:
                for register in (ERRORS, _OTHER_REGISTERS[k % len(_OTHER_REGISTERS)]):
                    self._read(register)
                health = self._registers.health()
            except Exception as error:  # whatever it is, motors that cannot be asked are not driven
                health = MotorHealth(ok=False, reason=str(error))
            if not health.ok and self._health.ok:
                logger.warning("motors: %s", health.reason)
            self._health, self._health_time = health, self._clock.now()
            k += 1

    def _read(self, register: str) -> None:
        group = ARM if register in (VELOCITY, ACCELERATION) else ALL
        self._registers.update(register, self._driver.registers(group, register))
