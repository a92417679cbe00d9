"""Promise: a question whose answer got lost is put again, and of several goals the newest one's answer counts."""

from __future__ import annotations

import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from rclpy.task import Future

from mqe_ros import asking


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_AGAIN_S", 0.02)


def test_a_lost_answer_is_asked_for_again() -> None:
    asked: list[Future] = []

    def ask() -> Future:
        asked.append(Future())
        if len(asked) == 3:
            asked[-1].set_result("yes")
        return asked[-1]

    assert asking.answer(ask, lambda: None, 10.0, "an answer") == "yes" and len(asked) == 3


def test_of_two_goals_the_later_ones_answer_counts() -> None:
    asked: list[Future] = []

    def listen() -> None:
        if len(asked) == 2:
            asked[0].set_result("first")
            asked[1].set_result("second")

    def ask() -> Future:
        asked.append(Future())
        return asked[-1]

    assert asking.answer(ask, listen, 10.0, "an answer", only_newest=True) == "second"


def test_a_slow_answer_to_the_first_asking_counts() -> None:
    asked: list[Future] = []

    def listen() -> None:
        if len(asked) == 2:
            asked[0].set_result("at last")

    def ask() -> Future:
        asked.append(Future())
        return asked[-1]

    assert asking.answer(ask, listen, 10.0, "an answer") == "at last"


def test_no_answer_is_an_error_that_says_what_was_asked() -> None:
    with pytest.raises(TimeoutError, match="the answer to a goal did not come within 0 s"):
        asking.answer(Future, lambda: None, 0.1, "the answer to a goal")
