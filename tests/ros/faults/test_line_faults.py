"""Promise: a line that loses, delays, swaps or repeats commands costs motion, never a jump."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ros.faults.fault_rig import HOLD_S, PERIOD_S, Rig
from tests.ros.ros_helpers import Client

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
    ("mode", "fault", "refused", "sent", "harmed", "share"),
    [
        ("drop_10", "10 % of the commands lost", "", (0.8, 0.95), None, (0.7, 0.98)),
        ("drop_50", "50 % of the commands lost", "", (0.35, 0.7), None, (0.25, 0.75)),
        ("delay", "commands 300 ms late", "", (0.85, 1.0), ("late", 0.85), (0.7, 1.05)),
        ("reorder", "each two commands swapped", "out_of_order", (0.85, 1.0), ("swapped", 0.4), (0.3, 0.7)),
        ("duplicate", "each command twice", "out_of_order", (1.85, 2.0), ("again", 0.9), (0.8, 1.05)),
        ("replay", "an old command again after each", "out_of_order", (1.85, 2.0), ("again", 0.9), (0.8, 1.05)),
    ],
)
def test_a_bad_line_costs_motion_only(
    line: Rig,
    note,
    mode: str,
    fault: str,
    refused: str,
    sent: tuple[float, float],
    harmed: tuple[str, float] | None,
    share: tuple[float, float],
) -> None:
    """`sent` and `harmed`: of the commands that came to the relay, by its own count; `share`: of the steps that an
    untouched line gives.
    """
    begun = line.line(mode)
    line.client.spin(SECONDS)
    moves, done = len(line.motions(begun)), line.done_to_the_line(mode)
    moved = moves * PERIOD_S / SECONDS
    if refused:
        line.wait_for_reason(ARM, refused)
    back = line.wait_for_motion(line.line("ok"))
    note(
        fault,
        f"moves on, {100 * moved:.0f} % of the steps",
        refused or "none needed",
        f"moves steadily after {back:.2f} s",
    )
    assert done["heard"] >= 0.85 * SECONDS / PERIOD_S and moves <= done["sent"] + 1, done
    assert sent[0] <= done["sent"] / done["heard"] <= sent[1], done
    assert harmed is None or done[harmed[0]] >= harmed[1] * done["heard"], done
    assert share[0] <= moved <= share[1]


def test_a_line_that_is_cut(line: Rig, note) -> None:
    cut = line.line("drop_all")
    held = line.wait_for_hold(cut)
    done = line.done_to_the_line("drop_all")
    line.wait_for_reason(ARM, "no command for 0.4 s")
    back = line.wait_for_motion(line.line("ok"))
    note("all commands lost", f"holds after {held:.2f} s", "no command for 0.4 s", f"moves after {back:.2f} s")
    assert held <= HOLD_S and done["heard"] >= 5 and done["sent"] == 0, done


def test_the_wanted_steps_are_known(line: Rig) -> None:
    """What the shares above are shares of."""
    begun = time.monotonic()
    line.client.spin(SECONDS)
    assert 0.9 <= len(line.motions(begun)) * PERIOD_S / SECONDS <= 1.05
