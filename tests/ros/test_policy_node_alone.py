"""Promise: the policy node's process ends with the reason where it cannot begin, and goes through its lifecycle as
often as it is asked to without a leak.

The policy node alone, without camera and arm.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from mqe_bringup.process import node
from mqe_interfaces.action import ReachGoal
from tests.ros.ros_helpers import PATIENCE_S, Client, Goal, Lifecycle

GOAL = Path(__file__).parents[2] / "ros2_ws" / "src" / "mqe_bringup" / "goals" / "drawer_place.png"  # 36 KiB as pixels


class Node:
    """The policy node's process."""

    def __init__(self, log: Path, **parameters: object) -> None:
        process = node("policy_node", parameters)
        self._log = log
        with log.open("wb") as file:  # a pipe that nobody reads fills up, and the node waits
            self._process = subprocess.Popen(process.command, stderr=file)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> tuple[int, str]:
        """Its exit code after Ctrl-C, or after its own end; and what it said."""
        self.interrupt()
        return self.wait()

    def interrupt(self) -> None:
        if not self.ended:
            self._process.send_signal(signal.SIGINT)

    def wait(self) -> tuple[int, str]:
        try:
            code = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        return code, self._log.read_text()


def test_a_node_that_activates_itself_ends_where_it_cannot(constant_policy: Path, tmp_path: Path) -> None:
    code, said = Node(tmp_path / "log", policy=str(constant_policy), camera_domain="real").wait()
    assert code == 1
    assert (
        said.strip().splitlines()[-1].startswith("policy_node: the camera shows real images")
        and "Traceback" not in said
    )


def test_a_node_that_is_shut_down_lets_go_and_ends_cleanly(
    constant_policy: Path, user_folder: Path, client: Client, tmp_path: Path
) -> None:
    node = Node(
        tmp_path / "log",
        policy=str(constant_policy),
        camera_domain="sim",
        goal=str(user_folder / "goals" / "corner.png"),
    )
    try:
        client.wait(lambda: node.ended or client.newest("/policy/status"), "the start")
        lifecycle = Lifecycle(client)
        assert lifecycle.change("shutdown") and lifecycle.state == "finalized"
        client.wait(lambda: not client.node.count_publishers("/policy/status"), "the end of the publishers")
        result = Goal(client, ReachGoal.Goal(goal_file=str(GOAL), timeout_s=5.0)).result()
        assert result.outcome == ReachGoal.Result.FAILED and "start it again" in result.reason  # activating is refused
    finally:
        code, said = node.end()
    assert code == 0, said


@pytest.mark.parametrize("begun", [True, False], ids=["in force", "still read"])
def test_after_a_signal_a_client_hears_how_its_goal_ended(
    begun: bool, constant_policy: Path, client: Client, tmp_path: Path
) -> None:
    node = Node(tmp_path / "log", policy=str(constant_policy), camera_domain="sim")
    try:
        goal = Goal(client, ReachGoal.Goal(goal_file=str(GOAL), timeout_s=60.0))
        if begun:
            client.wait(lambda: goal.feedback, "the goal's begin")
        node.interrupt()
        result = goal.result()
    finally:
        code, said = node.end()
    assert (result.outcome, result.reason) == (ReachGoal.Result.FAILED, "policy_node was stopped")
    assert code == 0, said


@dataclass(frozen=True)
class Usage:
    """What a process holds."""

    resident_kib: int
    threads: int
    files: int


def usage(pid: int) -> Usage:
    said = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Usage(int(said["VmRSS"].split()[0]), int(said["Threads"]), len(os.listdir(f"/proc/{pid}/fd")))


WARM_UP, PARTS, CYCLES = 100, 4, 250
MAX_GROWTH_KIB = 256  # of the part that grows least: a leak grows in every part, the allocator by jumps


@pytest.fixture
def alone(constant_policy: Path, tmp_path: Path) -> Iterator[Node]:
    """Unconfigured, with a goal to begin at each activation."""
    node = Node(tmp_path / "log", policy=str(constant_policy), camera_domain="sim", goal=str(GOAL), self_activate=False)
    yield node
    code, said = node.end()
    assert code == 0, said[-2000:]


def cycle(client: Client, times: int) -> None:
    """Each opens the policy, begins the goal and lets go of both."""
    lifecycle = Lifecycle(client)
    for _ in range(times):
        assert lifecycle.change("configure", "activate", "deactivate", "cleanup")


def test_a_few_cycles_leave_no_thread_and_no_file_behind(alone: Node, client: Client) -> None:
    cycle(client, 2)
    before = usage(alone.pid)
    cycle(client, 10)
    after = usage(alone.pid)
    assert (after.threads, after.files) == (before.threads, before.files)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_thousand_cycles_leave_nothing_behind(alone: Node, client: Client) -> None:
    cycle(client, WARM_UP)
    seen = [usage(alone.pid)]
    for _ in range(PARTS):
        cycle(client, CYCLES)
        seen.append(usage(alone.pid))
    sys.stdout.write(f"{seen}\n")
    assert len({(at.threads, at.files) for at in seen}) == 1, seen
    assert min(after.resident_kib - before.resident_kib for before, after in zip(seen, seen[1:])) < MAX_GROWTH_KIB, seen
    assert seen[-1].resident_kib - seen[0].resident_kib < 16 * MAX_GROWTH_KIB, seen
