"""Promise: a pad's message means what its mapping says, and what no pad sends moves nothing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mqe_core.runtime.teleop.devices import ACTS, ALWAYS, MOTIONS, SHIPPED, load_devices
from mqe_core.runtime.teleop.pad import Pad

DEVICES = load_devices()
PADS = [pad.name for pad in DEVICES.pads]


def pad(name: str = "gamepad") -> Pad:
    return Pad(DEVICES.pad(name), DEVICES)


def message(name: str, axes: dict[int, float] | None = None, buttons: tuple[int, ...] = ()) -> tuple[list, list]:
    spec = DEVICES.pad(name)
    places = [0.0] * spec.axes
    for axis, deflection in (axes or {}).items():
        places[axis] = deflection
    return places, [int(button in buttons) for button in range(spec.buttons)]


@pytest.mark.parametrize("name", PADS)
def test_each_shipped_pad_at_rest_wants_nothing(name: str) -> None:
    reading = pad(name).read(*message(name))
    assert not reading.dead_man and not reading.motion.any() and not reading.down


@pytest.mark.parametrize("name", PADS)
def test_each_motion_and_act_of_a_shipped_pad_has_a_place_of_its_own(name: str) -> None:
    """No axis and no button does two things, and each of the six motions can be made."""
    spec = DEVICES.pad(name)
    places = []
    for field in (*MOTIONS, "dead_man", *ACTS):
        kind, *numbers = getattr(spec, field).lstrip("-").split()
        places += [(kind.rstrip("s"), number) for number in numbers]
    assert len(places) == len(set(places))
    assert all(getattr(spec, motion) != "none" for motion in MOTIONS)


def test_the_sticks_move_the_hand_forward_left_and_up() -> None:
    for axis, index in ((1, 0), (0, 1), (3, 2), (2, 5)):
        motion = pad().read(*message("gamepad", {axis: 1.0})).motion
        assert motion.tolist() == [float(index == k) for k in range(6)]
    assert pad().read(*message("gamepad", {1: -1.0})).motion[0] == -1.0


def test_two_buttons_make_a_motion_and_together_none() -> None:
    assert pad().read(*message("gamepad", buttons=(14,))).motion[3] == 1.0
    assert pad().read(*message("gamepad", buttons=(13,))).motion[3] == -1.0
    assert pad().read(*message("gamepad", buttons=(13, 14))).motion[3] == 0.0


def test_an_axis_with_a_minus_goes_the_other_way() -> None:
    assert pad("xbox").read(*message("xbox", {6: 1.0})).motion[3] == -1.0


def test_within_the_dead_zone_nothing_moves_and_beyond_it_the_motion_begins_at_zero() -> None:
    zone = DEVICES.dead_zone
    assert pad().read(*message("gamepad", {1: zone})).motion[0] == 0.0
    assert pad().read(*message("gamepad", {1: zone + 1e-3})).motion[0] == pytest.approx(1e-3 / (1 - zone))
    assert pad().read(*message("gamepad", {1: 1.2})).motion[0] == 1.0  # a driver's rounding


@pytest.mark.parametrize("absurd", [float("nan"), float("inf"), -float("inf"), 1e9, -1e9, 1.6])
def test_an_absurd_deflection_is_refused_on_any_axis_also_one_without_use(absurd: float) -> None:
    for axis in range(6):
        with pytest.raises(ValueError, match=f"axis {axis} is .*goes from -1 to 1"):
            pad().read(*message("gamepad", {axis: absurd}))


def test_another_pad_is_named_where_it_is_known() -> None:
    with pytest.raises(ValueError, match="8 axes and 11 buttons, gamepad has 6 and 21; it may be xbox"):
        pad().read([0.0] * 8, [0] * 11)


@pytest.mark.parametrize(("axes", "buttons"), [(0, 0), (3, 12), (6, 20), (100_000, 100_000)])
def test_an_unknown_pad_is_refused(axes: int, buttons: int) -> None:
    with pytest.raises(ValueError, match="an unknown pad"):
        pad().read([0.0] * axes, [0] * buttons)


def test_a_driver_that_tells_changes_only_keeps_a_button_down() -> None:
    mouse = pad("spacemouse")
    assert not mouse.read([0.0] * 6, []).dead_man
    assert mouse.read([0.0] * 6, [1]).dead_man
    assert mouse.read([0.5] * 6, []).dead_man
    held = mouse.read([0.0] * 6, [1, 1])
    assert held.dead_man and held.down == {"gripper"}
    assert not mouse.read([0.0] * 6, [0]).dead_man


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("x: axis 1 ", "x: stick 1 ", "expected axis N"),
        ("x: axis 1 ", "x: axis 6 ", "beyond its axes"),
        ("dead_man: button 10", "dead_man: axis 1", "expected button N"),
        ("dead_man: button 10", "dead_man: none", "without one nothing moves"),
        ("dead_man: button 10", "dead_man: button 21", "beyond its axes"),
        ("button_news: always", "button_news: sometimes", "expected always or events"),
        ("dead_zone: 0.08", "dead_zone: 0.7", "less than 0.5"),
        ("speeds: [0.25, 0.5, 1.0]", "speeds: [0.25, 0.5, 2.0]", "above 0 up to 1"),
        ("{key: w, does: x+}", "{key: w, does: jump}", "nothing that a key can do"),
        ("fastest_m_per_s", "fastest_m", "unknown key"),
    ],
)
def test_a_mistake_in_a_file_of_ones_own_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    assert old in text
    file = tmp_path / "devices.yaml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(words)):
        devices = load_devices(file)
        Pad(devices.pad("gamepad"), devices)


def test_a_mistyped_pad_is_named_with_near_ones() -> None:
    with pytest.raises(ValueError, match="did you mean gamepad"):
        DEVICES.pad("gamepat")


def test_the_fastest_step_of_a_pad_is_one_that_the_arm_takes_whole(spec) -> None:
    period = spec.control.period_s
    assert DEVICES.fastest_m_per_s * period <= spec.control.max_translation_step_m
    assert DEVICES.fastest_rad_per_s * period <= spec.control.max_rotation_step_rad
    assert DEVICES.keyboard.step_m <= spec.control.max_translation_step_m
    assert DEVICES.keyboard.step_rad <= spec.control.max_rotation_step_rad


def test_only_the_spacemouses_driver_is_trusted_to_tell_changes_only() -> None:
    assert [pad.name for pad in DEVICES.pads if pad.button_news != ALWAYS] == ["spacemouse"]
    assert np.array_equal(np.sort(DEVICES.speeds), DEVICES.speeds)
