"""Promise: what a process hears right after it stood still is as old as its standstill may have made it."""

from __future__ import annotations

import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from mqe_ros.heartbeat import Heartbeat


@pytest.fixture
def heartbeat() -> Heartbeat:
    """Beats until 10 s, ten times a second."""
    heartbeat = Heartbeat(limit_s=0.4)
    for beat in range(101):
        heartbeat.beat(0.1 * beat)
    return heartbeat


def test_while_it_beats_what_is_heard_is_new(heartbeat: Heartbeat) -> None:
    assert heartbeat.earliest_arrival(10.05) == 10.05
    assert Heartbeat(0.4).earliest_arrival(3.0) == 3.0  # nor before the first beat


def test_after_a_standstill_it_may_have_waited_whoever_wakes_first(heartbeat: Heartbeat) -> None:
    assert heartbeat.earliest_arrival(18.0) == 10.0
    heartbeat.beat(18.0)
    assert heartbeat.earliest_arrival(18.1) == 10.0
    for beat in (18.1, 18.2, 18.3, 18.4):
        heartbeat.beat(beat)
    assert heartbeat.earliest_arrival(18.45) == 18.45
