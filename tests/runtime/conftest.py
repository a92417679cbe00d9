"""What the runtime's tests share: a clock under their control and commands around the arm's target."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mqe_core.robot.geometry import make_pose
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.loopback import LoopbackRobot
from mqe_core.runtime.robot import Command, RobotState
from mqe_core.runtime.safety.safe_robot import SafeRobot


class FakeClock:
    """Time moves only when a test moves it or something sleeps."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def sleep_until(self, t: float) -> None:
        self.time = max(self.time, t)

    def advance(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def start_joints(spec: RobotSpec) -> np.ndarray:
    """(6,) tool straight down at (0.3, 0, 0.15), well inside the workspace."""
    return np.array([0.0, 0.02201, 0.18310, 0.0, 1.36568, 0.0])


@pytest.fixture
def mock(spec: RobotSpec, clock: FakeClock, start_joints: np.ndarray) -> LoopbackRobot:
    return LoopbackRobot(spec, clock=clock, start_joints=start_joints)


@pytest.fixture
def robot(mock: LoopbackRobot, spec: RobotSpec, clock: FakeClock) -> SafeRobot:
    return SafeRobot(mock, spec, clock)


@pytest.fixture
def command(spec: RobotSpec, clock: FakeClock) -> Callable[..., Command]:
    """Build a command: `command(state, move=(dx, dy, dz), turn=R)` relative to the state's target; fields can
    be overridden.
    """
    sequence = iter(range(1, 1_000_000))

    def build(state: RobotState, move=(0.0, 0.0, 0.0), turn: np.ndarray | None = None, **fields) -> Command:
        rotation = state.target_pose[:3, :3] if turn is None else turn @ state.target_pose[:3, :3]
        pose = make_pose(rotation, state.target_pose[:3, 3] + np.asarray(move, dtype=float))
        defaults = {
            "gripper": 1.0,
            "stamp": clock.now(),
            "session": "test",
            "sequence": next(sequence),
            "frame_id": spec.base_frame,
        }
        return Command(**{"pose": pose, **defaults, **fields})

    return build
