"""Promise: a disk that is full stops the recording, not the robot; what was written until then can be imported, also
after SIGKILL.
"""

from __future__ import annotations

import resource
import shutil
import time
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from mqe_bringup.process import node
from mqe_core.data.episode import Skipped
from mqe_core.data.readers.ros_bag import RosBagSource
from tests.ros.faults.fault_rig import HOLD_S, PERIOD_S, Rig

pytestmark = pytest.mark.faults


def status_of(rig: Rig, name: str):
    found = [s for m in rig.client.heard["/diagnostics"] for s in m.status if s.name.startswith(name)]
    return found[-1] if found else None


def episodes(folder: Path) -> int:
    """What `mqe data import` finds in it."""
    return sum(not isinstance(task, Skipped) for task in RosBagSource(folder).tasks())


def test_a_full_disk_stops_the_recording_only(rig: Rig, tmp_path: Path, note) -> None:
    """The limit on the size of its files is the full disk: the write fails in the same place."""
    rig.add("record", node("record_node", {"folder": str(tmp_path / "bag")}).command)
    rig.wait(
        lambda: (tmp_path / "bag").exists() and sum(f.stat().st_size for f in (tmp_path / "bag").iterdir()) > 2**20,
        "a recording",
    )
    begun = time.monotonic()
    size = max(f.stat().st_size for f in (tmp_path / "bag").iterdir())
    resource.prlimit(rig.processes["record"].pid, resource.RLIMIT_FSIZE, (size + 2**16, size + 2**16))
    rig.wait(
        lambda: (s := status_of(rig, "record_node")) and s.level == DiagnosticStatus.ERROR, "the error in /diagnostics"
    )
    rig.client.spin(2.0)
    pause = rig.pauses(begun).max()
    said = status_of(rig, "record_node").message
    rig.processes["record"].terminate()
    assert rig.processes["record"].wait(10) == 0
    note(
        "the disk is full while recording",
        f"moves on; longest pause {pause:.2f} s",
        said,
        "what was written can be imported",
    )
    assert said.startswith("recording stopped") and pause <= HOLD_S + PERIOD_S
    assert episodes(tmp_path / "bag") > 0


def test_a_recorder_that_is_killed_leaves_a_readable_bag(rig: Rig, tmp_path: Path, note) -> None:
    rig.add("record", node("record_node", {"folder": str(tmp_path / "bag")}).command)
    rig.wait(
        lambda: (tmp_path / "bag").exists() and sum(f.stat().st_size for f in (tmp_path / "bag").iterdir()) > 2**21,
        "a recording",
    )
    begun = rig.kill("record")
    rig.client.spin(1.0)
    pause = rig.pauses(begun).max()
    note("recorder killed (SIGKILL)", f"moves on; longest pause {pause:.2f} s", "-", "what was written can be imported")
    assert episodes(tmp_path / "bag") > 0 and pause <= HOLD_S + PERIOD_S


def test_a_folder_that_is_deleted_while_recording_is_said_at_once(rig: Rig, tmp_path: Path, note) -> None:
    rig.add("record", node("record_node", {"folder": str(tmp_path / "bag")}).command)
    rig.wait(lambda: (s := status_of(rig, "record_node")) and s.message == "recording", "a recording")
    begun = time.monotonic()
    shutil.rmtree(tmp_path / "bag")
    rig.wait(
        lambda: (s := status_of(rig, "record_node")) and s.level == DiagnosticStatus.ERROR, "the error in /diagnostics"
    )
    told = time.monotonic() - begun
    pause = rig.pauses(begun).max()
    rig.processes["record"].terminate()
    assert rig.processes["record"].wait(10) == 0
    note(
        "the recording's folder is deleted",
        f"moves on; longest pause {pause:.2f} s",
        f"said in /diagnostics after {told:.1f} s",
        "what was recorded is lost",
    )
    assert "was deleted" in status_of(rig, "record_node").message and told < 2.0 and pause <= HOLD_S + PERIOD_S
