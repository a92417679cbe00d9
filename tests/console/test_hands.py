"""Promise: a page's hand counts while the page is heard of in time, its dead-man is held, and no other page's counts.
No clock but this process's is used.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from mqe_core.console.hands import ANOTHER, BEAT_S, LATE, MAX_AGE_S, NO_HAND, Beats, Hand, Hands
from mqe_core.runtime.teleop.dead_man import RELEASE_FIRST
from mqe_core.runtime.teleop.devices import load_devices

DEVICES = load_devices()
REST = {"dead_man": False, "keys": []}
HELD = {"dead_man": True, "keys": []}


class Page:
    """A page that hears its beats and answers them `late_s` later."""

    def __init__(self, hands: Hands, late_s: float = 0.0) -> None:
        self.hands, self.late_s = hands, late_s
        self.beats = Beats()
        self.hand: Hand = hands.join(self.beats)

    def say(self, now: float, **said: object) -> str:
        """What the page says at `now`, of a beat that was sent `late_s` before."""
        beat = self.beats.send(now - self.late_s)
        return self.hands.hear(self.hand, {"beat": beat, **said}, now)


@pytest.fixture
def acts() -> list[str]:
    return []


@pytest.fixture
def hands(acts: list[str]) -> Hands:
    return Hands(DEVICES, acts.append)


def test_keys_move_the_arm_while_they_are_held_with_the_dead_man(hands: Hands) -> None:
    page = Page(hands)
    assert page.say(1.0, **REST) == "the dead-man is not held"
    assert page.say(1.1, dead_man=True, keys=["w", "a"]) == ""
    wish = hands.wish(1.15)
    assert wish.engaged
    np.testing.assert_array_equal(wish.motion, [1, 1, 0, 0, 0, 0])
    assert page.say(1.2, dead_man=False, keys=["w"]) != "" and not hands.wish(1.2).engaged


def test_a_press_that_began_before_the_page_was_seen_at_rest_does_not_count(hands: Hands) -> None:
    page = Page(hands)
    assert page.say(1.0, **HELD) == RELEASE_FIRST
    page.say(1.1, **REST)
    assert page.say(1.2, **HELD) == ""


def test_a_page_that_falls_silent_lets_go_and_must_release_first(hands: Hands) -> None:
    page = Page(hands)
    page.say(1.0, **REST)
    page.say(1.1, **HELD)
    assert hands.wish(1.1 + 0.9 * MAX_AGE_S).engaged
    assert not hands.wish(1.1 + 1.1 * MAX_AGE_S).engaged
    assert "the page" in hands.wish(2.0).why_not
    assert page.say(2.0, **HELD) == RELEASE_FIRST


def test_messages_that_waited_on_their_way_do_not_count(hands: Hands) -> None:
    """As after a cut of the network: what was said meanwhile arrives at once, each of its own beat."""
    page = Page(hands)
    page.say(1.0, **REST)
    page.say(1.05, **HELD)
    beats = [page.beats.send(1.05 + k * BEAT_S) for k in range(1, 11)]  # which the page got; then the line was cut
    for beat in beats[:4]:
        assert hands.hear(page.hand, {"beat": beat, **HELD}, 3.0) != ""
    assert not hands.wish(3.0).engaged


def test_a_slow_line_does_not_count_and_says_so(hands: Hands) -> None:
    page = Page(hands, late_s=MAX_AGE_S + 0.05)
    page.say(1.0, **REST)
    assert page.say(1.1, **HELD) == LATE and not hands.wish(1.1).engaged


@pytest.mark.parametrize("beat", [None, 0, 99, -1, True, "1", 1e30, math.nan])
def test_a_beat_that_was_never_sent_is_refused_and_lets_go(hands: Hands, beat: object) -> None:
    page = Page(hands)
    page.say(1.0, **REST)
    page.say(1.1, **HELD)
    with pytest.raises(ValueError, match="names no beat"):
        hands.hear(page.hand, {"beat": beat, **HELD}, 1.15)
    assert not hands.wish(1.15).engaged


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"keys": "w", "dead_man": True},
        {"keys": ["w"] * 21, "dead_man": True},
        {"keys": ["w" * 21], "dead_man": True},
        {"keys": [1], "dead_man": True},
        {"keys": ["w"], "dead_man": 1},
        {"axes": [math.nan, 0, 0, 0], "buttons": [0] * 17},
        {"axes": [1e9, 0, 0, 0], "buttons": [0] * 17},
        {"axes": [0, 0, 0], "buttons": [0] * 17},
        {"axes": [0] * 4, "buttons": None},
        {"axes": ["0"] * 4, "buttons": [0] * 17},
        {"axes": {"0": 0}, "buttons": [0] * 17},
    ],
)
def test_what_no_page_sends_is_named_and_lets_go(hands: Hands, said: dict[str, object]) -> None:
    page = Page(hands)
    page.say(1.0, **REST)
    page.say(1.1, **HELD)
    with pytest.raises(ValueError):
        page.say(1.2, **said)
    assert not hands.wish(1.2).engaged
    assert page.say(1.25, **HELD) == RELEASE_FIRST


def test_a_gamepad_of_the_browser_moves_the_arm(hands: Hands) -> None:
    page = Page(hands)
    rest = {"axes": [0.0] * 4, "buttons": [0] * 17}
    page.say(1.0, **rest)
    shoulder = [int(place == 5) for place in range(17)]
    page.say(1.1, axes=[0.0, -1.0, 0.0, -0.5], buttons=shoulder)
    wish = hands.wish(1.1)
    assert wish.engaged and wish.motion[0] == 1.0 and 0.3 < wish.motion[2] < 0.6  # forward and up


def test_of_two_pages_the_first_keeps_the_arm_and_the_second_must_press_again(hands: Hands) -> None:
    first, second = Page(hands), Page(hands)
    for page in (first, second):
        page.say(1.0, **REST)
    assert first.say(1.05, dead_man=True, keys=["w"]) == ""
    assert second.say(1.1, dead_man=True, keys=["s"]) == ANOTHER
    assert hands.wish(1.1).motion[0] == 1.0
    first.say(1.15, **REST)
    assert second.say(1.2, dead_man=True, keys=["s"]) == RELEASE_FIRST and not hands.wish(1.2).engaged
    second.say(1.25, **REST)
    assert second.say(1.3, dead_man=True, keys=["s"]) == ""
    assert hands.wish(1.3).motion[0] == -1.0


def test_a_page_that_is_closed_lets_go_at_once(hands: Hands) -> None:
    page = Page(hands)
    page.say(1.0, **REST)
    page.say(1.1, **HELD)
    hands.leave(page.hand)
    hands.leave(page.hand)
    assert not hands.wish(1.1).engaged and hands.wish(1.1).why_not == NO_HAND


def test_acts_are_done_once_a_press_and_the_gripper_only_by_the_hand_that_counts(hands: Hands, acts: list[str]) -> None:
    page = Page(hands)
    page.say(1.0, **REST)
    page.say(1.05, dead_man=False, keys=["g"])  # not held: the gripper stays
    page.say(1.1, dead_man=False, keys=["n"])
    page.say(1.15, dead_man=False, keys=["n"])
    assert acts == ["episode"]
    page.say(1.2, **HELD)
    page.say(1.25, dead_man=True, keys=["g"])
    page.say(1.3, dead_man=True, keys=["g"])
    assert acts == ["episode", "gripper"]


def test_the_pads_hold_stops_the_hand_itself(hands: Hands, acts: list[str]) -> None:
    page = Page(hands)
    page.say(1.0, axes=[0.0] * 4, buttons=[0] * 17)
    shoulder = [int(place == 5) for place in range(17)]
    page.say(1.1, axes=[0.0] * 4, buttons=shoulder)
    page.say(1.15, axes=[0.0] * 4, buttons=[int(place in (1, 5)) for place in range(17)])
    assert acts == ["hold"] and not hands.wish(1.15).engaged
