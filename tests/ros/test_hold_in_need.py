"""Promise: a hold arrives where the machine is short of something, and what is missing is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("mqe_bringup", reason="the ROS workspace is not built: make setup")

from mqe_interfaces.msg import ArmStatus
from tests.ros.ros_helpers import Client
from tests.ros.surroundings import in_a_full_container
from tests.ros.test_transports import HOLD, SECOND_ARM, run


def test_a_hold_arrives_out_of_a_container_whose_shared_memory_is_full(start_arm, client: Client) -> None:
    """Without care ROS ends such a process by a bus error, before it can say a word."""
    start_arm({})
    held = run(in_a_full_container(HOLD))
    assert held.returncode == 0 and "mqe arm resume" in held.stdout, held.stderr
    client.wait(lambda: client.newest("/arm/status").state == ArmStatus.HELD, "the hold")


def test_a_graph_says_that_the_shared_memory_is_full() -> None:
    up = [sys.executable, "-B", "-m", "mqe_core.cli", "up", "backend:=nowhere"]
    said = run(in_a_full_container(up)).stderr
    assert "mqe up: /dev/shm is full, and ROS may end by that without a word" in said


@pytest.mark.parametrize("output", [">/dev/full", ">&-", "<&- >&- 2>&-", "| true; exit ${PIPESTATUS[0]}"])
def test_a_hold_that_cannot_be_told_is_no_hold_that_failed(output: str, start_arm, client: Client) -> None:
    start_arm({})
    held = run(["bash", "-c", f'"$@" {output}', "bash", *HOLD])
    assert held.returncode == 0 and "may not be holding" not in held.stderr, held.stderr
    client.wait(lambda: client.newest("/arm/status").state == ArmStatus.HELD, "the hold")


def test_who_may_find_nobody_is_told_at_once_and_starts_no_arm(tmp_path: Path) -> None:
    for command in (HOLD, SECOND_ARM):
        ended = run(command, ROS_AUTOMATIC_DISCOVERY_RANGE="OFF", ROS_LOG_DIR=str(tmp_path))
        assert ended.returncode == 1 and "ROS_AUTOMATIC_DISCOVERY_RANGE is OFF: no node finds another" in ended.stderr
