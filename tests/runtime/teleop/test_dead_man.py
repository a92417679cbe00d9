"""Promise: an operator's hand counts only while the dead-man is held, heard of, and was seen released before."""

from __future__ import annotations

import numpy as np
import pytest

from mqe_core.runtime.teleop.dead_man import RELEASE_FIRST, DeadMan
from mqe_core.runtime.teleop.pad import Reading

MAX_AGE_S = 0.25


def reading(held: bool, *down: str) -> Reading:
    return Reading(held, np.array([0.5, 0, 0, 0, 0, 0]), frozenset(down))


@pytest.fixture
def hand() -> DeadMan:
    """One that was seen released at 0 s."""
    hand = DeadMan(MAX_AGE_S)
    hand.hear(reading(False), 0.0)
    return hand


def test_it_counts_while_it_is_held(hand: DeadMan) -> None:
    assert not hand.wish(0.1).engaged and "not held" in hand.wish(0.1).why_not
    hand.hear(reading(True), 0.1)
    assert hand.wish(0.1).engaged and hand.wish(0.1).motion[0] == 0.5
    hand.hear(reading(False), 0.2)
    assert not hand.wish(0.2).engaged and not hand.wish(0.2).motion.any()


def test_a_press_from_before_the_start_does_not_count() -> None:
    hand = DeadMan(MAX_AGE_S)
    assert "nothing heard" in hand.wish(0.0).why_not
    hand.hear(reading(True), 0.0)
    assert hand.wish(0.0).why_not == RELEASE_FIRST


def test_a_pad_that_falls_silent_is_lost_and_counts_again_after_a_release(hand: DeadMan) -> None:
    hand.hear(reading(True), 0.1)
    assert hand.wish(0.1 + MAX_AGE_S).engaged
    assert "nothing heard from the pad for 0.25 s" in hand.wish(0.4).why_not
    hand.hear(reading(True), 1.0)  # plugged in again, and its driver tells what it knew
    assert hand.wish(1.0).why_not == RELEASE_FIRST
    hand.hear(reading(False), 1.1)
    hand.hear(reading(True), 1.2)
    assert hand.wish(1.2).engaged


def test_what_cannot_be_trusted_ends_it_until_the_next_press(hand: DeadMan) -> None:
    hand.hear(reading(True), 0.1)
    hand.doubt("axis 1 is nan")
    assert hand.wish(0.1).why_not == "axis 1 is nan" and not hand.wish(0.1).engaged
    hand.hear(reading(True), 0.15)
    assert hand.wish(0.15).why_not == RELEASE_FIRST
    hand.hear(reading(False), 0.2)
    hand.hear(reading(True), 0.25)
    assert hand.wish(0.25).engaged


def test_a_button_acts_once_at_each_press(hand: DeadMan) -> None:
    assert hand.hear(reading(False, "gripper"), 0.1) == {"gripper"}
    assert hand.hear(reading(False, "gripper"), 0.2) == frozenset()
    assert hand.hear(reading(False, "gripper", "hold"), 0.25) == {"hold"}
    assert hand.hear(reading(False), 0.3) == frozenset()
    assert hand.hear(reading(False, "gripper"), 0.4) == {"gripper"}


def test_a_button_that_is_down_when_the_pad_appears_does_not_act(hand: DeadMan) -> None:
    assert DeadMan(MAX_AGE_S).hear(reading(False, "resume"), 0.0) == frozenset()
    assert hand.hear(reading(False, "resume"), 5.0) == frozenset()
