"""Promise: a line that loses, delays, swaps or repeats commands costs motion, never a jump."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_rig import HOLD_S, PERIOD_S, Rig
from ros_helpers import Client

pytestmark = pytest.mark.faults
ARM = "/arm/status"
SECONDS = 6.0


@pytest.fixture(scope="module")
def lined(listener: Client, user_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(listener, tmp_path_factory.mktemp("line"), relay=True)
    yield rig
    rig.close()


@pytest.fixture
def line(lined: Rig) -> Iterator[Rig]:
    """A rig with a bad line in it."""
    yield from lined.in_motion()
    lined.line("ok")


@pytest.mark.parametrize(
    ("mode", "fault", "refused", "share"),
    [
        ("drop_10", "10 % of the commands lost", "", (0.7, 1.05)),
        ("drop_50", "50 % of the commands lost", "", (0.25, 0.8)),
        ("delay", "commands 300 ms late", "", (0.7, 1.05)),
        ("reorder", "each two commands swapped", "out_of_order", (0.3, 0.7)),
        ("duplicate", "each command twice", "out_of_order", (0.8, 1.05)),
        ("replay", "an old command again after each", "out_of_order", (0.8, 1.05)),
    ],
)
def test_a_bad_line_costs_motion_only(line: Rig, note, mode: str, fault: str, refused: str, share: tuple[float, float]) -> None:
    begun = line.line(mode)
    line.client.spin(SECONDS)
    moved = len(line.motions(begun)) * PERIOD_S / SECONDS
    if refused:
        line.wait_for_reason(ARM, refused)
    back = line.wait_for_motion(line.line("ok"))
    note(fault, f"moves on, {100 * moved:.0f} % of the steps", refused or "none needed", f"moves steadily after {back:.2f} s")
    assert share[0] <= moved <= share[1]


def test_a_line_that_is_cut(line: Rig, note) -> None:
    cut = line.line("drop_all")
    held = line.wait_for_hold(cut)
    line.wait_for_reason(ARM, "no command for 0.4 s")
    back = line.wait_for_motion(line.line("ok"))
    note("all commands lost", f"holds after {held:.2f} s", "no command for 0.4 s", f"moves after {back:.2f} s")
    assert held <= HOLD_S


def test_the_wanted_steps_are_known(line: Rig) -> None:
    """What the shares above are shares of."""
    begun = time.monotonic()
    line.client.spin(SECONDS)
    assert 0.9 <= len(line.motions(begun)) * PERIOD_S / SECONDS <= 1.05
