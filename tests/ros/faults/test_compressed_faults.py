"""Promise: compressed images that are damaged, or much work, make way for the next one; the arm moves on, and is told
what was dropped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ros.faults.fault_rig import HOLD_S, Rig
from tests.ros.ros_helpers import Client

pytestmark = pytest.mark.faults
# What stopped the commands for each such image would do so in every window. Other work on a busy machine does not.
WINDOW_S, WINDOWS = 5.0, 3


@pytest.fixture(scope="module")
def running(listener: Client, user_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(listener, tmp_path_factory.mktemp("rig"), {"compressed": True})
    yield rig
    rig.close()


@pytest.mark.parametrize(
    ("mode", "fault", "reason"),
    [
        ("cut", "of the camera's JPEGs some are cut short", "not a readable JPEG"),
        ("heavy", "of the camera's JPEGs some take half a second to decode", "takes long to decode"),
    ],
)
def test_the_next_image_counts(rig: Rig, note, mode: str, fault: str, reason: str) -> None:
    rig.camera(mode)
    pauses = []
    while len(pauses) < WINDOWS and min(pauses, default=HOLD_S + 1) > HOLD_S:
        begun = time.monotonic()
        rig.client.spin(WINDOW_S)
        pauses.append(rig.pauses(begun).max())
    rig.wait(lambda: any(reason in text for text in said(rig)), "the reason in /diagnostics")
    rig.camera("ok")
    back = rig.wait_for_motion()
    told = ", ".join(f"{pause:.2f}" for pause in pauses)
    note(fault, f"moves on; longest pause {told} s", reason, f"moves steadily after {back:.2f} s")
    assert min(pauses) <= HOLD_S


def said(rig: Rig) -> list[str]:
    return [status.message for message in rig.client.heard["/diagnostics"] for status in message.status]
