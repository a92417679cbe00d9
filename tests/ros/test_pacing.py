"""Promise: many answers at once leave one after the other, and none waits for long, however many there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from rclpy.exceptions import InvalidHandle

from mqe_ros import pacing

PERIOD_S = 0.02


class Timer:
    def __init__(self, period_s: float, fire: Callable[[], None]) -> None:
        self.period_s, self.fire, self.canceled = period_s, fire, False

    def cancel(self) -> None:
        self.canceled = True

    def reset(self) -> None:
        self.canceled = False

    def is_canceled(self) -> bool:
        return self.canceled


class Node:
    """Time that passes only here."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timer: Timer | None = None

    def create_timer(self, period_s: float, callback: Callable[[], None], **_: object) -> Timer:
        self.timer = Timer(period_s, callback)
        return self.timer

    def pass_period(self) -> None:
        assert self.timer is not None
        self.now += self.timer.period_s
        if not self.timer.canceled:
            self.timer.fire()


class Service:
    """As rclpy's, but it notes what it sends."""

    def __init__(self, name: str) -> None:
        self.srv_name, self.sent, self.is_destroyed = name, [], False

    def send_response(self, response: Any, header: Any) -> None:
        if self.is_destroyed:
            raise InvalidHandle
        self.sent.append(response)


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> tuple[Node, Service]:
    node, service, pace = Node(), Service("/arm/hold"), pacing.Pace()
    monkeypatch.setattr(pacing.time, "monotonic", lambda: node.now)
    pace.begin(node)
    pace.keep(service)
    return node, service


def test_a_few_leave_at_once_and_the_others_one_after_the_other(paced: tuple[Node, Service]) -> None:
    node, service = paced
    for number in range(20):
        service.send_response(number, None)
    assert service.sent == [0, 1, 2, 3, 4]
    for number in range(5, 20):
        node.pass_period()
        assert service.sent == list(range(number + 1))
    assert node.timer is not None and node.timer.canceled


@pytest.mark.parametrize("rate_hz", [200, 1000])
def test_a_steady_stream_waits_for_a_second_and_not_longer_and_longer(
    rate_hz: int, paced: tuple[Node, Service]
) -> None:
    node, service = paced
    asked = 0
    for _ in range(int(10.0 / PERIOD_S)):
        for _ in range(int(rate_hz * PERIOD_S)):
            service.send_response(asked, None)
            asked += 1
        node.pass_period()
    assert service.sent == list(range(len(service.sent)))
    assert asked - len(service.sent) <= 1.1 * rate_hz  # what came within the last second


def test_what_waits_for_a_service_that_goes_is_let_go(paced: tuple[Node, Service]) -> None:
    node, service = paced
    for number in range(20):
        service.send_response(number, None)
    service.is_destroyed = True
    for _ in range(20):
        node.pass_period()
    assert len(service.sent) == 5 and node.timer is not None and node.timer.canceled
