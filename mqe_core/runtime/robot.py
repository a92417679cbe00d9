"""What a robot, a camera and a clock are to the rest of the runtime. `backends.py` finds and makes them.

Everything that moves the arm speaks the four methods of `Robot`.

Units and frames everywhere: metres and radians; poses are (4, 4) of `ee_gripper_link` in `spec.base_frame`;
gripper in Bridge units (1 = open, 0 = closed); times are monotonic seconds of the injected clock.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from mqe_core.robot.arrays import Floats, Images

_FARTHEST_RAD = 2 * np.pi  # every joint of such an arm ends before one turn
_DEAD_BUS_RAD = 1e-3  # around -pi; less than one step of an encoder


@dataclass(frozen=True)
class MotorHealth:
    """Whether the motors may be driven. `reason` says in words why not; temperatures (6,) in °C only where
    they are measured.
    """

    ok: bool
    reason: str = ""
    temperatures_c: Floats | None = None


@dataclass(frozen=True, eq=False)
class RobotState:
    """One observation of the arm.

    Attributes:
        stamp: when the joints were measured, monotonic seconds.
        joints: (6,) rad, measured, waist to wrist_rotate.
        gripper: measured opening in Bridge units; may exceed 1 a little.
        pose: (4, 4) measured end effector.
        target_pose: (4, 4) last sent target; before the first command the pose the arm was found in.
        target_gripper: last sent opening of the gripper.
        health: state of the motors.
        gripper_effort_n: measured force that closes a finger, N; None where the arm does not measure it.
    """

    stamp: float
    joints: Floats
    gripper: float
    pose: Floats
    target_pose: Floats
    target_gripper: float
    health: MotorHealth
    gripper_effort_n: float | None = None


@dataclass(frozen=True, eq=False)
class Command:
    """An absolute target for the end effector: as it is asked for, as it is allowed, and as it was sent.

    A sender fills in what it asks for. The safety filter returns what is allowed, with joints. The backend answers with
    what it really sent, or with `refused` set.

    Attributes:
        pose: (4, 4) target in `frame_id`.
        gripper: target opening in [0, 1].
        stamp: monotonic seconds on the clock of the arm's side: when the command was received there (in one
            process: made).
        session: who sends it; the arm's side takes commands of one session at a time.
        sequence: counts up within a session; a lower or equal number is refused as out of order.
        frame_id: the frame of `pose`; only `spec.base_frame` is accepted.
        joints: (6,) rad that reach `pose`; filled in by the safety filter, required by a backend.
        clipped: names of the rules that changed the command, in the order they were applied.
        refused: name of the rule that refused the command, or None; where it is set, nothing was sent and the
            arm holds.
        detail: one sentence with the numbers behind `clipped` or `refused`, for people.
    """

    pose: Floats
    gripper: float
    stamp: float
    session: str
    sequence: int
    frame_id: str
    joints: Floats | None = None
    clipped: tuple[str, ...] = ()
    refused: str | None = None
    detail: str = ""


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera image: (H, W, 3) uint8 RGB, when it was taken (monotonic s), and the domain it shows."""

    stamp: float
    image: Images
    domain: str


@runtime_checkable
class Robot(Protocol):
    """An arm. Homing is a motion made of sends; resetting a scene belongs to the sim's own interface."""

    def observe(self) -> RobotState:
        """The newest state. RuntimeError where the arm cannot be read; never made-up joints."""

    def send(self, command: Command) -> Command:
        """Move towards the command's joints; returns at once, with the answer: what was really sent, or with `refused`
        set what was not. `SafeRobot` takes a command as it is asked for. Every other robot takes one that is allowed,
        and refuses one without joints by ValueError.
        """

    def hold(self) -> None:
        """Keep the last sent target. Never re-bases on the measured pose: a sagging arm would walk down hold
        by hold.
        """

    def close(self) -> None:
        """Release the backend; the arm keeps its last target as far as the backend can."""


@runtime_checkable
class Camera(Protocol):
    """A source of frames."""

    def read(self) -> Frame | None:
        """The newest frame, or None while there is none; never a made-up image. RuntimeError where it has stopped
        delivering.
        """

    def close(self) -> None:
        """Release the device."""


@runtime_checkable
class Clock(Protocol):
    """Monotonic seconds. A simulation's own clock may pass faster or slower than the wall's."""

    def now(self) -> float:
        """Seconds since an arbitrary start; never goes backwards."""

    def sleep_until(self, t: float) -> None:
        """Return at `t` or, where `t` has passed, at once."""


class MonotonicClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        return time.monotonic()

    def sleep_until(self, t: float) -> None:
        while (remaining := t - time.monotonic()) > 0:
            time.sleep(remaining)


def unreadable_joints(joints: Floats) -> str:
    """What is wrong with measured joints (6,) that cannot be a reading; empty where they can."""
    if not np.isfinite(joints).all():
        return f"measured joints {np.asarray(joints).tolist()}: the motor bus does not answer"
    if (np.abs(np.asarray(joints)) > _FARTHEST_RAD).any():
        return f"measured joints {np.asarray(joints).tolist()}: no joint turns so far"
    # Interbotix's driver publishes -pi for every joint when it cannot read the bus.
    if (np.abs(np.asarray(joints) + np.pi) < _DEAD_BUS_RAD).all():
        return "all joints read -pi: the motor bus does not answer"
    return ""
