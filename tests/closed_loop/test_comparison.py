"""Intervals are what they say, and two policies are compared only on scenes that both were evaluated in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mqe_core.cli import main
from mqe_core.closed_loop.comparison import compare
from mqe_core.closed_loop.intervals import paired_difference, wilson_interval


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (90, 100), (1, 2), (1, 1), (499, 1000)])
def test_wilson_interval_solves_its_defining_equation(successes: int, trials: int) -> None:
    """The bounds are the rates p from which the observed rate lies z standard deviations, |rate - p| = z
    sqrt(p (1 - p) / n).
    """
    low, high = wilson_interval(successes, trials)
    rate = successes / trials
    assert 0.0 <= low <= rate <= high <= 1.0
    for bound in (low, high):
        deviations = abs(rate - bound) / np.sqrt(bound * (1 - bound) / trials) if 0 < bound < 1 else None
        assert deviations is None or deviations == pytest.approx(1.959964, abs=1e-5)
    assert (low == 0.0) == (successes == 0) and (high == 1.0) == (successes == trials)


def test_a_paired_difference_has_the_mean_of_its_groups_and_a_normal_interval() -> None:
    rng = np.random.default_rng(0)
    groups = [rng.normal(0.2, 1.0, 400), rng.normal(0.4, 1.0, 100)]
    difference, (low, high) = paired_difference(groups)
    assert difference == pytest.approx((groups[0].mean() + groups[1].mean()) / 2)
    half = 1.96 * np.sqrt(groups[0].var() / 400 + groups[1].var() / 100) / 2
    assert (low, high) == pytest.approx((difference - half, difference + half), abs=0.01)


def test_results_are_compared_by_scene(tmp_path, capsys) -> None:
    def write(name: str, task: str, scores: dict[int, float]) -> Path:
        outcomes = [{"scene_seed": scene, "score": score} for scene, score in scores.items()]
        (tmp_path / name).write_text(json.dumps({"task": task, "max_score": 2.0, "outcomes": outcomes}))
        return tmp_path / name

    a = [write("a1", "place2", {1: 2.0, 2: 1.0}), write("a2", "place2", {3: 0.0}), write("a3", "reach", {7: 2.0})]
    b = [write("b1", "place2", {3: 0.0, 2: 0.0, 1: 1.0}), write("b2", "reach", {7: 1.0})]
    comparison = compare(a, b)
    place2 = comparison.tasks["place2"]
    assert [place2.scenes, place2.a, place2.b, place2.difference] == pytest.approx([3, 1 / 2, 1 / 6, 1 / 3])
    assert comparison.difference == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert main(["compare", "--a", *map(str, a), "--b", *map(str, b)]) == 0
    assert "all tasks: difference +0.417" in capsys.readouterr().out
    with pytest.raises(ValueError, match="different tasks"):
        compare(a, b[:1])
    with pytest.raises(ValueError, match="different scenes"):
        compare(a[:1] + a[2:], b)
    with pytest.raises(ValueError, match="given twice"):
        compare([*a, a[0]], b)
    with pytest.raises(ValueError, match="no result of `mqe eval`"):
        compare([tmp_path / "absent"], b)
