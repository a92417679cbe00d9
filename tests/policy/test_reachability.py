"""Promise: the arm does not move towards a goal that is refused, and one noisy picture refuses none."""

from __future__ import annotations

import math

import pytest

from mqe_core.policy.reachability import FAR, UNREACHABLE, Reachability


@pytest.mark.parametrize(
    ("distances", "expected"),
    [
        ([9.0, 10.0, 9.0], [None, None, None]),  # the threshold itself is within
        ([11.0, 11.0, 11.0], [FAR, FAR, UNREACHABLE]),
        ([11.0, 11.0, 9.0, 11.0, 11.0, 9.0], [FAR, FAR, None, None, None, None]),
        ([9.0, 11.0, 11.0, 11.0, 9.0], [None, None, None, UNREACHABLE, UNREACHABLE]),  # and it stays so
        ([math.inf] * 3, [FAR, FAR, UNREACHABLE]),
        ([math.nan, -1.0, None], [None, None, None]),
    ],
)
def test_three_answers_in_a_row_refuse(distances: list[float | None], expected: list[str | None]) -> None:
    rule = Reachability(10.0)
    assert [rule.update(distance) for distance in distances] == expected


def test_without_a_threshold_nothing_is_refused() -> None:
    rule = Reachability(None)
    assert [rule.update(distance) for distance in (1e9, math.inf, math.nan, None)] == [None] * 4
