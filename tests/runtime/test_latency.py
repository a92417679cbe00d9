"""Promise: a policy's slot follows from what it takes on this machine, within stated bounds, and says how."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from mqe_core.runtime import latency
from mqe_core.runtime.latency import Latency, choose_slot, given_slot, measure
from mqe_core.runtime.policy_side import PolicyOutput, PolicyUnavailable

PERIOD_S = 0.2


class FakeClock:
    """A clock that only sleeping and the fake policy move."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def sleep_until(self, t: float) -> None:
        self.time = max(self.time, t)


class FakePolicy:
    """Takes the given times, again and again; infinite: no answer after 0.1 s."""

    domain = "sim"

    def __init__(self, clock: FakeClock, times: Sequence[float]) -> None:
        self.asked: list[tuple[np.ndarray, np.ndarray]] = []
        self._clock, self._times = clock, times

    def act(self, observation: np.ndarray, goal: np.ndarray) -> PolicyOutput:
        took = self._times[len(self.asked) % len(self._times)]
        self.asked.append((observation, goal))
        self._clock.time += 0.1 if math.isinf(took) else took
        if math.isinf(took):
            raise PolicyUnavailable("no answer")
        return PolicyOutput(np.zeros(7, np.float32), None)


def measured(times: Sequence[float]) -> tuple[Latency, FakePolicy, float]:
    """With the policy that was asked, and the seconds that it took in all."""
    clock = FakeClock()
    policy = FakePolicy(clock, times)
    begin = clock.time
    return measure(policy, 48, 64, clock=clock), policy, clock.time - begin


def test_percentiles_are_those_of_the_policys_times_without_the_first_calls() -> None:
    cold = [0.1] * latency.WARM_UP_CALLS
    warm = np.random.default_rng(0).permutation([1e-5 * (1 + k) for k in range(latency.CALLS)])
    found, policy, _ = measured([*cold, *warm])
    assert (found.calls, found.unanswered) == (latency.CALLS, 0)
    assert found.p50_s == pytest.approx(1e-5 * latency.CALLS / 2)
    assert found.p99_s == pytest.approx(1e-5 * 0.99 * latency.CALLS) and found.slow == "p99"
    assert len(policy.asked) == latency.WARM_UP_CALLS + latency.CALLS


def test_it_is_asked_about_changing_camera_images_and_one_goal() -> None:
    _, policy, _ = measured([0.001])
    observations, goals = zip(*policy.asked)
    assert {image.shape for image in (*observations, *goals)} == {(48, 64, 3)}
    assert all(goal is goals[0] for goal in goals)
    assert not np.array_equal(observations[0], observations[1])


@pytest.mark.parametrize("seconds", [0.1, 0.4, 3.0])
def test_a_slow_policy_does_not_make_the_start_slow(seconds: float) -> None:
    found, _, took = measured([seconds])
    assert found.p99_s == pytest.approx(seconds) and found.calls >= 1
    assert took <= latency.TIME_LIMIT_S + seconds + 2 * latency.PAUSE_S


@pytest.mark.parametrize(
    ("p99_s", "slot_s", "margin"),
    [
        (0.0001, 0.0201, "with a margin of 20 ms"),
        (0.03, 0.05, "with a margin of 20 ms"),
        (0.079, 0.099, "with a margin of 20 ms"),
        (0.08, 0.1, "with a margin of 20 ms"),
        (0.085, 0.1, "with a margin of 15 ms"),
        (0.095, 0.1, "with a margin of 5 ms"),
        (0.1, 0.1, "with a margin of 0 ms"),
        (0.15, 0.1, "longer than the longest slot"),
    ],
)
def test_the_slot_is_the_99th_percentile_and_what_margin_half_a_period_leaves(
    p99_s: float, slot_s: float, margin: str
) -> None:
    slot = choose_slot(Latency(p99_s / 2, p99_s, 150, 0), PERIOD_S)
    assert slot.seconds == pytest.approx(slot_s)
    assert slot.origin == f"measured: p99 {1e3 * p99_s:.1f} ms of 150 answers, {margin}"
    assert bool(slot.problem) == ("20 ms" not in margin)
    assert ("which leaves a " + margin.removeprefix("with a ") in slot.problem) == (0.08 < p99_s <= 0.1)


@pytest.mark.parametrize(("calls", "slow"), [(1, "slowest"), (99, "slowest"), (100, "p99"), (200, "p99")])
def test_the_slowest_of_few_calls_is_not_called_a_percentile(calls: int, slow: str) -> None:
    assert choose_slot(Latency(0.01, 0.03, calls, 0), PERIOD_S).origin.startswith(
        f"measured: {slow} 30.0 ms of {calls}"
    )
    slow_one = choose_slot(Latency(0.01, 0.095, calls, 0), PERIOD_S)
    assert slow_one.problem.startswith(f"an answer takes 95 ms ({slow}), ")


def test_a_policy_that_is_too_slow_is_said_with_the_remedy() -> None:
    slot = choose_slot(measured([0.15])[0], PERIOD_S)
    assert slot.problem.startswith("an answer takes 150 ms (slowest), more than the longest slot")
    for remedy in ("smaller policy", "threads", "mqe serve"):
        assert remedy in slot.problem


@pytest.mark.parametrize("times", [[math.inf], [0.005] * 9 + [math.inf]])
def test_calls_without_an_answer_make_the_slot_as_long_as_it_may_be(times: list[float]) -> None:
    found, *_ = measured(times)
    counted = (
        range(latency.WARM_UP_CALLS, latency.WARM_UP_CALLS + found.calls) if len(times) > 1 else range(found.calls)
    )
    assert found.p99_s == math.inf and found.unanswered == sum(math.isinf(times[k % len(times)]) for k in counted)
    slot = choose_slot(found, PERIOD_S)
    assert slot.seconds == PERIOD_S / 2
    assert f"{found.unanswered} of {found.calls} calls were not answered in time" in slot.problem


def test_a_given_slot_counts_as_it_is_and_lies_within_the_period() -> None:
    slot = given_slot(0.15, PERIOD_S)
    assert (slot.seconds, slot.origin, slot.problem) == (0.15, "given", "")
    for seconds in (-0.01, 0.2, math.nan):
        with pytest.raises(ValueError, match=r"within the control period of 0\.2 s"):
            given_slot(seconds, PERIOD_S)
