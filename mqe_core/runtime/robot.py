"""What a robot, a camera and a clock are to the rest of the runtime, and how a backend is found by name.

Everything that moves the arm speaks the four methods of `Robot`; `make_robot` wraps every backend in
`SafeRobot`, so the safety filter is the only road to a motor. Backends register in the entry-point groups
`mqe.robots`, `mqe.cameras` and `mqe.scenes`; a factory is called as `factory(spec, clock=clock, **options)`.

Units and frames everywhere: metres and radians; poses are (4, 4) of `ee_gripper_link` in `spec.base_frame`;
gripper in Bridge units (1 = open, 0 = closed); times are monotonic seconds of the injected clock.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Callable, Protocol, runtime_checkable

import numpy as np

from mqe_core.spec import RobotSpec

if TYPE_CHECKING:
    from mqe_core.runtime.safe_robot import SafeRobot

DOMAINS = ("sim", "real")  # what an image shows; a policy acts only on the domain it was trained on

_DEAD_BUS_TOLERANCE_RAD = 1e-3

# Scenes from this seed on are kept for evaluation: no training data is collected in them.
FIRST_EVALUATION_SEED = 1_000_000


@dataclass(frozen=True)
class MotorHealth:
    """Whether the motors may be driven. `reason` says in words why not; temperatures (6,) in °C only where
    they are measured.
    """

    ok: bool
    reason: str = ""
    temperatures_c: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class RobotState:
    """One observation of the arm.

    Attributes:
        stamp: when the joints were measured, monotonic seconds.
        joints: (6,) rad, measured, waist to wrist_rotate.
        gripper: measured opening in Bridge units; may exceed 1 a little.
        pose: (4, 4) measured end effector.
        target_pose: (4, 4) target really commanded last; before the first command the pose the arm was found
            in.
        target_gripper: gripper really commanded last.
        health: state of the motors.
        gripper_effort_n: measured force that closes a finger, N; None where the arm does not measure it.
    """

    stamp: float
    joints: np.ndarray
    gripper: float
    pose: np.ndarray
    target_pose: np.ndarray
    target_gripper: float
    health: MotorHealth
    gripper_effort_n: float | None = None


@dataclass(frozen=True, eq=False)
class Command:
    """An absolute target for the end effector, and on the way back what became of it.

    Attributes:
        pose: (4, 4) target in `frame_id`.
        gripper: target opening in [0, 1].
        stamp: monotonic seconds on the clock of the arm's side: when the command was received there (in one
            process: made).
        session: who commands; the arm's side accepts one session at a time.
        sequence: counts up within a session; a lower or equal number is refused as out of order.
        frame_id: the frame of `pose`; only `spec.base_frame` is accepted.
        joints: (6,) rad that reach `pose`; filled in by the safety filter, required by a backend.
        clipped: names of the rules that changed the command, in the order they were applied.
        refused: name of the rule that refused the command, or None; where it is set, nothing was sent and the
            arm holds.
        detail: one sentence with the numbers behind `clipped` or `refused`, for people.
    """

    pose: np.ndarray
    gripper: float
    stamp: float
    session: str
    sequence: int
    frame_id: str
    joints: np.ndarray | None = None
    clipped: tuple[str, ...] = ()
    refused: str | None = None
    detail: str = ""


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera image: (H, W, 3) uint8 RGB, when it was taken (monotonic s), and the domain it shows."""

    stamp: float
    image: np.ndarray
    domain: str


@runtime_checkable
class Robot(Protocol):
    """An arm. Homing is a motion made of sends; resetting a scene belongs to the sim's own interface."""

    def observe(self) -> RobotState:
        """The newest state. RuntimeError where the arm cannot be read; never made-up joints."""

    def send(self, command: Command) -> Command:
        """Move towards the command's joints; returns at once, with what was really sent."""

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
        """The newest frame, or None while there is none; never a made-up image. RuntimeError where it has stopped delivering."""

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


class Scene(Protocol):
    """A task set up in a simulator: what `mqe eval` and `mqe run` drive. `robot` is raw: wrap it in
    `SafeRobot`.
    """

    robot: Robot
    camera: Camera
    clock: Clock
    goal: np.ndarray  # (H, W, 3) uint8 RGB
    task: str
    max_steps: int
    max_score: float

    def score(self) -> float:
        """Lets the world come to rest, then scores it: 0 to `max_score`."""

    def close(self) -> None:
        """End the simulation."""


def unreadable_joints(joints: np.ndarray) -> str:
    """What is wrong with measured joints (6,) that cannot be a reading; empty where they can."""
    if not np.isfinite(joints).all():
        return f"measured joints {np.asarray(joints).tolist()}: the motor bus does not answer"
    # Interbotix's driver publishes -pi for every joint when it cannot read the bus.
    if (np.abs(np.asarray(joints) + np.pi) < _DEAD_BUS_TOLERANCE_RAD).all():
        return "all joints read -pi: the motor bus does not answer"
    return ""


def find_backend(group: str, name: str) -> Callable:
    """The factory registered as `name` in an entry-point group. ValueError names the installed ones."""
    found = {entry.name: entry for entry in entry_points(group=group)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none: is the package installed (pip install -e .)?"
        raise ValueError(f"no {group} backend named {name!r} is installed here; installed: {known}")
    return found[name].load()


def make_robot(name: str, spec: RobotSpec, *, clock: Clock | None = None, **options: object) -> SafeRobot:
    """The backend `name` behind the safety filter. `clock` is the machine's where it is not given; `options`
    go to the backend.
    """
    from mqe_core.runtime.safe_robot import SafeRobot  # here, not above: safe_robot.py needs the types of this module

    clock = clock if clock is not None else MonotonicClock()
    return SafeRobot(find_backend("mqe.robots", name)(spec, clock=clock, **options), spec, clock)


def make_camera(name: str, spec: RobotSpec, *, clock: Clock | None = None, **options: object) -> Camera:
    """The camera backend `name`; `options` go to it."""
    clock = clock if clock is not None else MonotonicClock()
    return find_backend("mqe.cameras", name)(spec, clock=clock, **options)


def make_scene(name: str, spec: RobotSpec, task: str, seed: int, *, realtime: bool = False, **options: object) -> Scene:
    """The task `task` with seed `seed` in the simulator `name`; see the group's factory for what `realtime`
    and further options change.
    """
    return find_backend("mqe.scenes", name)(spec, task, seed, realtime=realtime, **options)


def check_domain(policy_domain: str, domain: str, source: str) -> None:
    """Raise ValueError with the remedy where images of `domain` from `source` would reach a policy trained on
    another domain.
    """
    if domain not in DOMAINS:
        raise ValueError(f"{source}: domain must be one of {', '.join(DOMAINS)}; got {domain!r}")
    if domain != policy_domain:
        raise ValueError(
            f"{source} shows {domain} images, but the policy was trained on {policy_domain} images and "
            "would act blindly; "
            f"use a policy exported with --domain {domain} (mqe data import, mqe train, mqe export), or "
            f"{policy_domain} images"
        )
