"""Promise: a press of a terminal's key is one bounded step, and a hold wins wherever it stands."""

from __future__ import annotations

import numpy as np
import pytest

from mqe_core.runtime.teleop.devices import ACTS, MOTIONS, load_devices
from mqe_core.runtime.teleop.keys import KeyMap

DEVICES = load_devices()
KEYS = KeyMap(DEVICES)


def test_each_motion_has_two_keys_and_each_act_one() -> None:
    does = [key.does for key in DEVICES.keyboard.keys]
    assert sorted(does) == sorted([*ACTS, *(f"{motion}{way}" for motion in MOTIONS for way in "+-")])
    assert len({key.key for key in DEVICES.keyboard.keys}) == len(does)


@pytest.mark.parametrize(("typed", "place", "step"), [("w", 0, 0.02), ("d", 1, -0.02), ("f", 2, -0.02), ("q", 5, 0.1)])
def test_a_key_is_one_step(typed: str, place: int, step: float) -> None:
    pressed = KEYS.read(typed)
    assert pressed is not None and pressed.act is None
    np.testing.assert_array_equal(pressed.motion, np.eye(6)[place] * step)


def test_what_comes_at_once_is_one_step() -> None:
    pressed = KEYS.read("wwwwwwww")
    assert pressed is not None and pressed.motion[0] == 0.02


@pytest.mark.parametrize("typed", ["www www", " ", "gw ", "\n "])
def test_a_hold_wins_wherever_it_stands(typed: str) -> None:
    pressed = KEYS.read(typed)
    assert pressed is not None and pressed.act == "hold" and not pressed.motion.any()


@pytest.mark.parametrize("typed", ["", "z", "\x1b[A", "\x1bw", "ü"])
def test_other_keys_do_nothing(typed: str) -> None:
    assert KEYS.read(typed) is None


def test_the_legend_names_every_key() -> None:
    legend = KEYS.legend().split()
    assert all(key.key in legend for key in DEVICES.keyboard.keys)
