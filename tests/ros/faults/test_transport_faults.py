"""Promise: a hold reaches the moving arm from wherever it is asked for, also where shared memory does not reach or is
full, and beside a flood of others; and no second arm starts there.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from mqe_bringup.process import node
from mqe_interfaces.msg import ArmStatus
from tests.ros.faults.fault_rig import HERE, PATIENCE_S, Rig
from tests.ros.surroundings import clean_shared_memory, in_a_container, in_a_full_container, of_another_user

pytestmark = pytest.mark.faults
ARM = "/arm/status"
TIMES = 5

CASES: Mapping[str, Callable[[list[str]], list[str]]] = {
    "by another user of the machine": of_another_user,
    "out of a container with its own /dev/shm": in_a_container,
    "after the graph's files in /dev/shm were removed": lambda command: command,
}


def mqe(surrounded: Callable[[list[str]], list[str]], *arguments: str) -> str:
    """What `mqe` says, asked from there."""
    command = surrounded([sys.executable, "-B", "-m", "mqe_core.cli", *arguments])
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("case", CASES)
def test_a_hold_from_where_shared_memory_does_not_reach(rig: Rig, note, case: str) -> None:
    surrounded = CASES[case]
    if "removed" in case:
        assert clean_shared_memory(process.pid for process in rig.processes.values()) > 0  # camera's and policy's
    surrounded(["true"])  # or it is skipped
    held, seconds = [], []
    for _ in range(TIMES):
        asked = time.monotonic()
        mqe(surrounded, "arm", "hold")
        answered = time.monotonic()
        rig.wait(lambda: rig.client.newest(ARM).state == ArmStatus.HELD, "the hold")
        rig.client.spin(0.6)
        held.append(max([0.0, *(rig.motions(answered) - answered)]))
        seconds.append(answered - asked)
        if len(held) < TIMES:
            mqe(surrounded, "arm", "resume")
            rig.wait_for_motion()
    assert "arm     held: operator" in mqe(surrounded, "arm", "status")
    assert "policy  goal " in mqe(surrounded, "arm", "status")
    second = [sys.executable, "-B", *node("arm_node", {"backend": "mock"}).command[1:]]
    refused = subprocess.run(
        surrounded(["env", "ROS_LOG_DIR=/dev/shm", *second]), capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert refused.returncode == 1 and "another arm_node runs in ROS domain" in refused.stderr
    mqe(surrounded, "arm", "resume")
    back = rig.wait_for_motion()
    said = (
        f"answered {np.median(seconds):.1f} s after `mqe arm hold` was started (median), {max(seconds):.1f} s (worst)"
    )
    note(
        f"a hold {case}, {TIMES} times",
        f"holds {max(held):.3f} s after the answer at worst",
        said,
        f"a second arm is refused; moves {back:.1f} s after `mqe arm resume`",
    )
    assert max(held) < 0.1


def hold(rig: Rig, surrounded: Callable[[list[str]], list[str]]) -> tuple[float, float]:
    """Seconds until it was answered, and from then to the arm's last motion."""
    asked = time.monotonic()
    mqe(surrounded, "arm", "hold")
    answered = time.monotonic()
    rig.wait(lambda: rig.client.newest(ARM).state == ArmStatus.HELD, "the hold")
    rig.client.spin(0.6)
    return answered - asked, max([0.0, *(rig.motions(answered) - answered)])


def test_a_hold_out_of_a_container_whose_shared_memory_is_full(rig: Rig, note) -> None:
    in_a_full_container(["true"])  # or it is skipped
    seconds, late = hold(rig, in_a_full_container)
    mqe(in_a_full_container, "arm", "resume")
    back = rig.wait_for_motion()
    note(
        "a hold out of a container whose /dev/shm is full",
        f"holds {late:.3f} s after the answer",
        f"answered {seconds:.1f} s after `mqe arm hold` was started",
        f"moves {back:.1f} s after `mqe arm resume`",
    )
    assert late < 0.1


def test_a_hold_beside_two_hundred_others_a_second(rig: Rig, note) -> None:
    flood = subprocess.Popen(
        [sys.executable, str(HERE / "fault_flood.py"), "200", "8"], stdout=subprocess.PIPE, text=True
    )
    rig.wait(lambda: rig.client.newest(ARM).state == ArmStatus.HELD, "the first hold")
    seconds, late = hold(rig, lambda command: command)
    asked, answered = map(int, flood.communicate(timeout=60.0)[0].split())
    rig.ask("/arm/resume")
    back = rig.wait_for_motion()
    note(
        "/arm/hold 200 times a second, for 8 s",
        "held",
        f"{answered} of {asked} are answered; `mqe arm hold` beside them {seconds:.1f} s after it was started",
        f"moves {back:.1f} s after /arm/resume",
    )
    assert late < 0.1 and answered == asked
