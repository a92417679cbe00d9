"""Promise: a clock that is set, forth or back, changes nothing that moves: ages and deadlines are counted by the
monotonic clock.

The nodes take ROS time from /clock here, so that it can be set without touching the machine's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from builtin_interfaces.msg import Time
from rosgraph_msgs.msg import Clock

from tests.ros.faults.fault_rig import HOLD_S, PERIOD_S, Rig
from tests.ros.ros_helpers import Client

pytestmark = pytest.mark.faults


class ClockPublisher:
    """ROS time: the machine's plus `offset_s`."""

    def __init__(self, client: Client) -> None:
        self.offset_s = 0.0
        self._clock = client.node.create_publisher(Clock, "/clock", 10)
        client.node.create_timer(0.02, self._publish)

    def _publish(self) -> None:
        now = time.time() + self.offset_s
        self._clock.publish(Clock(clock=Time(sec=int(now), nanosec=int(1e9 * (now % 1.0)))))


@pytest.fixture(scope="module")
def clock(listener: Client) -> ClockPublisher:
    return ClockPublisher(listener)


@pytest.fixture(scope="module")
def on_ros_time(
    clock: ClockPublisher, listener: Client, user_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rig]:
    rig = Rig(listener, tmp_path_factory.mktemp("clock"), parameters={"use_sim_time": True})
    yield rig
    rig.close()


@pytest.fixture
def rig(on_ros_time: Rig) -> Iterator[Rig]:
    yield from on_ros_time.in_motion()


@pytest.mark.parametrize(
    ("offset_s", "fault"), [(3600.0, "the clock is set an hour forward"), (-3600.0, "the clock is set two hours back")]
)
def test_a_clock_that_is_set_changes_nothing_that_moves(
    rig: Rig, clock: ClockPublisher, note, offset_s: float, fault: str
) -> None:
    before = rig.client.newest("/arm/status").header.stamp.sec
    clock.offset_s = offset_s
    begun = time.monotonic()
    rig.client.spin(4.0)
    pause = rig.pauses(begun).max()
    assert abs(rig.client.newest("/arm/status").header.stamp.sec - before) > 3000  # the nodes did hear of it
    heard = len(rig.client.heard["/diagnostics"])
    rig.client.spin(2.5)
    assert len(rig.client.heard["/diagnostics"]) > heard  # nor do the diagnostics stand still
    note(fault, f"moves on; longest pause {pause:.2f} s", "none needed", "nothing to recover from")
    assert pause <= HOLD_S + 0.5 * PERIOD_S
