"""How long a policy takes on this machine, and the slot that follows from it.

A tick is the moment a control period begins; the policy computes then. The slot is how long after the tick the command
is published. A command that left as soon as it was ready would carry the policy's varying time to the arm; at the slot
nearly every command is ready, so all leave equally late.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mqe_core.runtime.policy_side import Policy, PolicyUnavailable
from mqe_core.runtime.robot import Clock, MonotonicClock

CALLS = 200
WARM_UP_CALLS = 3  # the first ones meet cold caches
TIME_LIMIT_S = 1.0  # of all calls together: a start does not wait for a slow policy's two-hundredth
PAUSE_S = 0.002  # before each call: a core that rested is slower than one in a tight loop
MARGIN_S = 0.02  # the node reads messages and judges the image beside the inference; no slot is shorter
LONGEST_SLOT_PERIODS = 0.5  # of a control period: what was seen must still be true when the arm hears of it
_ROUNDING_S = 1e-9
REMEDY = "a smaller policy, more threads (policy_node's parameter threads), or mqe serve on a faster machine"


@dataclass(frozen=True)
class Latency:
    """Measured times of one answer, s. A percentile is infinite where that many calls were not answered. The 99th of
    fewer than 100 calls is the slowest of them.
    """

    p50_s: float
    p99_s: float
    calls: int
    unanswered: int

    @property
    def slow(self) -> str:
        """What `p99_s` is, in words."""
        return "p99" if _rank(99, self.calls) < self.calls else "slowest"


@dataclass(frozen=True)
class Slot:
    """How long after its tick a command is published, how that came about, and what is wrong with it, if anything."""

    seconds: float
    origin: str
    problem: str = ""


def measure(policy: Policy, height: int, width: int, *, clock: Clock | None = None) -> Latency:
    """Time up to `CALLS` answers, for at most about `TIME_LIMIT_S` seconds, but at least one.

    The policy is asked about noise of the camera's size, (height, width, 3) uint8 RGB, so that resizing is included;
    the goal stays the same, as on the robot. A call that raises PolicyUnavailable counts as never answered.
    """
    clock = MonotonicClock() if clock is None else clock
    goal, *observations = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    end = clock.now() + TIME_LIMIT_S
    times: list[float] = []
    for call in range(WARM_UP_CALLS + CALLS):
        clock.sleep_until(clock.now() + PAUSE_S)
        begin = clock.now()
        try:
            policy.act(observations[call % len(observations)], goal)
            times.append(clock.now() - begin)
        except PolicyUnavailable:
            times.append(math.inf)
        if clock.now() > end:
            break
    times = times[WARM_UP_CALLS:] or times[-1:]  # a very slow policy is not even warm by then
    return Latency(_percentile(times, 50), _percentile(times, 99), len(times), times.count(math.inf))


def choose_slot(latency: Latency, period_s: float) -> Slot:
    """The 99th percentile plus `MARGIN_S`, at most `LONGEST_SLOT_PERIODS` of the control period. Where that leaves less
    of the margin, the slot says how much, and that it is a problem.
    """
    longest = LONGEST_SLOT_PERIODS * period_s
    seconds = min(latency.p99_s + MARGIN_S, longest)
    if latency.unanswered:
        measured = f"{latency.unanswered} of {latency.calls} calls were not answered in time"
        return Slot(seconds, f"measured: {measured}", f"{measured}. Remedies: {REMEDY}")
    margin = seconds - latency.p99_s
    took_ms, left_ms, longest_ms = 1e3 * latency.p99_s, 1e3 * margin, 1e3 * longest
    measured = f"{latency.slow} {took_ms:.1f} ms of {latency.calls} answers"
    if margin < 0.0:
        problem = (
            f"an answer takes {took_ms:.0f} ms ({latency.slow}), more than the longest slot, half a control period "
            f"({longest_ms:.0f} ms). Remedies: {REMEDY}"
        )
        return Slot(seconds, f"measured: {measured}, longer than the longest slot", problem)
    problem = ""
    if margin < MARGIN_S - _ROUNDING_S:
        problem = (
            f"an answer takes {took_ms:.0f} ms ({latency.slow}), which leaves a margin of {left_ms:.0f} ms within the "
            f"longest slot, half a control period ({longest_ms:.0f} ms). Remedies: {REMEDY}"
        )
    return Slot(seconds, f"measured: {measured}, with a margin of {left_ms:.0f} ms", problem)


def given_slot(seconds: float, period_s: float) -> Slot:
    """A slot that was asked for. ValueError where it does not lie within the control period."""
    if not 0.0 <= seconds < period_s:
        raise ValueError(f"the parameter slot_s must lie within the control period of {period_s} s; got {seconds}")
    return Slot(seconds, "given")


def _percentile(times: list[float], percent: float) -> float:
    """The least time that so many percent of the calls do not exceed."""
    return sorted(times)[_rank(percent, len(times)) - 1]


def _rank(percent: float, calls: int) -> int:
    """Which of so many calls, from the fastest, is that percentile; counts from 1."""
    return math.ceil(percent / 100 * calls)
