"""A goal is reached after a run of small distances, and not getting closer after a run without a smaller one."""

from __future__ import annotations

import math

import pytest

from mqe_core.policy.goal_progress import NOT_CLOSER, REACHED, Progress


def answers(progress: Progress, distances: list[float | None]) -> list[str | None]:
    return [progress.update(distance) for distance in distances]


def test_reached_needs_a_run_of_small_distances() -> None:
    assert answers(Progress(2.0, None, 2), [1.0, 3.0, 2.0, 1.5]) == [None, None, None, REACHED]


@pytest.mark.parametrize("reached_steps", [None, 0.0])
def test_nothing_is_reached_without_a_threshold_or_a_critic(reached_steps: float | None) -> None:
    assert answers(Progress(reached_steps, 2, 1), [0.0, 0.0]) == [None, None]
    assert answers(Progress(5.0, 2, 1), [None] * 5) == [None] * 5


def test_not_closer_counts_from_the_closest_so_far() -> None:
    progress = Progress(1.0, 3, 2)
    assert answers(progress, [10.0, 10.0, 9.8, 9.0]) == [None] * 4  # 9.8 is no news, 9.0 is
    assert answers(progress, [9.0, 12.0, 9.0]) == [None, None, NOT_CLOSER]
    assert answers(progress, [9.0, 8.0, 8.0]) == [NOT_CLOSER, None, None]


def test_a_reached_goal_does_not_stall() -> None:
    assert answers(Progress(1.0, 2, 9), [0.5] * 8) == [None] * 8


def test_without_a_stall_threshold_nothing_stalls() -> None:
    assert answers(Progress(1.0, None), [5.0] * 50) == [None] * 50


@pytest.mark.parametrize(
    ("reached_steps", "told"),
    [
        (2.0, "at the nearest 1.5 steps to the goal, where 2 for 3 commands count as reached"),
        (None, "at the nearest 1.5 steps to the goal"),
    ],
)
def test_the_nearest_is_told(reached_steps: float | None, told: str) -> None:
    progress = Progress(reached_steps, 9, 3)
    assert progress.nearest_in_words == ""
    answers(progress, [math.nan, -1.0])
    assert progress.nearest_in_words == ""
    answers(progress, [123.456, 1.5, math.nan, 30.0])  # near once, which is not reached
    assert progress.nearest_in_words == told


NO_DISTANCES = [-1.0, -math.inf, math.nan, math.inf, -1e-9]


@pytest.mark.parametrize("distance", NO_DISTANCES)
def test_what_cannot_be_a_distance_is_neither_near_nor_closer(distance: float) -> None:
    assert answers(Progress(2.0, None, 1), [distance] * 5) == [None] * 5
    progress = Progress(2.0, 3, 1)
    assert answers(progress, [10.0, distance, distance, distance]) == [None, None, None, NOT_CLOSER]
    assert answers(progress, [9.0, 1.0]) == [None, REACHED]


@pytest.mark.parametrize("in_a_row", [0, -2])
def test_no_goal_is_reached_without_a_command(in_a_row: int) -> None:
    with pytest.raises(ValueError, match=f"reached_in_a_row must be at least 1, got {in_a_row}"):
        Progress(2.0, None, in_a_row)
