"""The hands of the pages that are open: when one of them counts, judged by this process's clock alone.

A page says again and again what its operator holds, and names the newest beat that it got from here. It counts as heard
when that beat was sent. So whatever delays a message on its way, in a network, in a browser or in a queue, makes it
older here; no clock of a browser matters. A page that falls silent lets go.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from mqe_core.runtime.teleop.dead_man import DeadMan, Wish
from mqe_core.runtime.teleop.devices import BROWSER, GRIPPER, HOLD, Devices
from mqe_core.runtime.teleop.held_keys import HeldKeys
from mqe_core.runtime.teleop.pad import Pad, Reading

BEAT_S = 0.05  # between two beats
MAX_AGE_S = 0.25  # of what a page says, counted from the beat that it names: the way there and back included
_BEATS = 100  # that are remembered: five seconds
_MOST_KEYS = 20  # that a page may say are held at once
_MOST_LETTERS = 20  # of a key's name
NO_HAND = "no page has its hand control on"
ANOTHER = "another page has the arm by hand; release here, and press again once it has let go"
LATE = f"what this page says takes more than {MAX_AGE_S} s to arrive; release, and press again"


class Beats:
    """Numbers that are sent to a page, and when each was."""

    def __init__(self) -> None:
        self._sent: deque[tuple[int, float]] = deque(maxlen=_BEATS)

    def send(self, now: float) -> int:
        """The next number, sent `now`."""
        number = self._sent[-1][0] + 1 if self._sent else 1
        self._sent.append((number, now))
        return number

    def sent(self, number: object) -> float:
        """When that one was sent, s. ValueError where none of them was."""
        for known, at in reversed(self._sent):
            if known == number and not isinstance(number, bool):
                return at
        raise ValueError("a message that names no beat of the last seconds")


class Hand:
    """One page's hand. `hear` returns the acts that it asks for now."""

    def __init__(self, devices: Devices, beats: Beats) -> None:
        self._beats = beats
        self._keys, self._pad = HeldKeys(devices), Pad(devices.pad(BROWSER), devices)
        self._dead_man = DeadMan(MAX_AGE_S, "the page")

    def hear(self, said: dict[str, Any], now: float) -> frozenset[str]:
        """One message: `beat`, and `keys` with `dead_man`, or `axes` and `buttons` of a gamepad. ValueError, and the
        hand lets go, where it holds what no page sends. One that took too long lets go, too.
        """
        try:
            heard = self._beats.sent(said.get("beat"))
            reading = self._read(said)
        except ValueError as error:
            self._dead_man.doubt(str(error))
            raise
        pressed = self._dead_man.hear(reading, heard)
        if now - heard > MAX_AGE_S:
            self.doubt(LATE)
        if HOLD in pressed:
            self.doubt("held by the page; resume first")
        return pressed

    def wish(self, now: float) -> Wish:
        """What counts at `now`."""
        return self._dead_man.wish(now)

    def doubt(self, trouble: str) -> None:
        """Let go; the next press counts."""
        self._dead_man.doubt(trouble)

    def _read(self, said: dict[str, Any]) -> Reading:
        if "axes" in said:
            return self._pad.read(_numbers(said["axes"]), [int(b != 0) for b in _numbers(said.get("buttons"))])
        keys = said.get("keys")
        if not isinstance(keys, list) or len(keys) > _MOST_KEYS or not isinstance(said.get("dead_man"), bool):
            raise ValueError(f"a hand says keys (at most {_MOST_KEYS}) and dead_man, or axes and buttons")
        if not all(isinstance(key, str) and len(key) <= _MOST_LETTERS for key in keys):
            raise ValueError("a key is a short text")
        return self._keys.read(said["dead_man"], keys)


class Hands:
    """All pages' hands, of which one at a time counts: the first to press keeps it until it lets go.

    Args:
        on_act: called with an act that the hand which counts asks for.
    """

    def __init__(self, devices: Devices, on_act: Callable[[str], None] = lambda act: None) -> None:
        self._devices, self._on_act = devices, on_act
        self._lock = threading.Lock()  # pages speak in one thread, and the control thread asks
        self._hands: list[Hand] = []
        self._holder: Hand | None = None

    def join(self, beats: Beats) -> Hand:
        """A page's hand, from when its hand control is switched on. `beats`: that are sent to that page."""
        hand = Hand(self._devices, beats)
        with self._lock:
            self._hands.append(hand)
        return hand

    def leave(self, hand: Hand) -> None:
        """The page is gone, or its hand control off. Safe to call again."""
        with self._lock:
            self._hands = [other for other in self._hands if other is not hand]

    def hear(self, hand: Hand, said: dict[str, Any], now: float) -> str:
        """Note what a page says; returns why its hand does not count, empty where it does. ValueError as `Hand`."""
        with self._lock:
            acts = hand.hear(said, now)
            self._choose(now)
            holds = hand is self._holder
            if not holds and hand.wish(now).engaged:
                hand.doubt(ANOTHER)  # or it would have the arm at once when the other one lets go
            why_not = hand.wish(now).why_not
        for act in sorted(acts):
            if act != GRIPPER or holds:
                self._on_act(act)
        return why_not

    def doubt(self, hand: Hand, trouble: str) -> None:
        """Let `hand` go; its next press counts."""
        with self._lock:
            hand.doubt(trouble)

    def wish(self, now: float) -> Wish:
        """What the hand that counts wants at `now`."""
        with self._lock:
            return self._choose(now)

    def _choose(self, now: float) -> Wish:
        """Call with the lock held."""
        if self._holder is not None and self._holder in self._hands:
            wish = self._holder.wish(now)
            if wish.engaged:
                return wish
        self._holder = None
        wishes = [(hand, hand.wish(now)) for hand in self._hands]
        for hand, wish in wishes:
            if wish.engaged:
                self._holder = hand
                return wish
        why_not = wishes[-1][1].why_not if wishes else NO_HAND
        return Wish(False, np.zeros(6), why_not)


def _numbers(values: object) -> list[float]:
    """ValueError where it is no list of numbers; NaN and infinity are the pad's to refuse."""
    if not isinstance(values, list) or len(values) > 256:
        raise ValueError("axes and buttons are lists of numbers")
    if not all(isinstance(value, (int, float)) for value in values):
        raise ValueError("axes and buttons are lists of numbers")
    return [float(value) for value in values]
