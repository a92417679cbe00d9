"""Promise: the curve holds one goal's steps of the last minute, and draws its thresholds."""

from __future__ import annotations

from mqe_core.console.link import PolicyView
from mqe_core.console.steps import KEPT_S, StepsCurve


def running(at: float, steps: float | None, goal: str = "cup") -> PolicyView:
    return PolicyView(at, "running", "", goal, steps)


def test_each_status_counts_once_and_another_goal_begins_anew() -> None:
    curve = StepsCurve(3.0, None, True)
    for _ in range(3):
        curve.note(running(1.0, 20.0))
    curve.note(running(1.2, 18.0))
    assert (curve.newest, curve.stalls_above) == (18.0, 0.95 * 18.0)
    curve.note(running(1.4, 30.0, "plate"))
    assert (curve.newest, curve.stalls_above) == (30.0, 0.95 * 30.0)


def test_the_same_goal_again_begins_anew() -> None:
    curve = StepsCurve(None, None, True)
    curve.note(running(1.0, 2.0))
    curve.note(PolicyView(1.2, "idle", "reached", "cup", 2.0))
    curve.note(running(1.4, 30.0))
    curve.note(running(1.6, 29.0))
    assert curve.stalls_above == 0.95 * 29.0


def test_where_no_goal_stalls_no_height_is_drawn() -> None:
    curve = StepsCurve(None, None, False)
    curve.note(running(1.0, 2.0))
    assert curve.stalls_above is None and "stalls" not in curve.svg()


def test_what_is_not_known_is_no_point_and_an_ended_goal_stays() -> None:
    curve = StepsCurve(None, None, True)
    curve.note(running(1.0, None))
    assert curve.newest is None and curve.svg() == ""
    curve.note(running(1.2, 5.0))
    curve.note(PolicyView(1.4, "idle", "reached", "cup", 2.0))
    assert curve.newest == 5.0


def test_old_points_go_and_the_nearest_is_kept() -> None:
    curve = StepsCurve(None, None, True)
    curve.note(running(0.0, 1.0))
    curve.note(running(KEPT_S + 1.0, 9.0))
    assert curve.stalls_above == 0.95 * 1.0 and curve.newest == 9.0


def test_thresholds_are_drawn_where_there_are_some() -> None:
    curve = StepsCurve(3.0, 40.0, True)
    for k in range(10):
        curve.note(running(0.2 * k, 30.0 - k))
    svg = curve.svg()
    assert "reached (3.0)" in svg and "refused beyond 40" in svg and svg.count("stroke-dasharray") == 3
    far = StepsCurve(None, 400.0, False)
    far.note(running(0.0, 5.0))
    assert "refused" not in far.svg() and "reached" not in far.svg()
