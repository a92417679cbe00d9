"""Promise: an arm that cannot be trusted is not driven; after a fault it waits for an operator, and then nothing
jumps.
"""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest

from mqe_core.robot.safety_rules import JOINT_STATE, MOTORS, STALE, STALE_STATE
from mqe_interfaces.msg import ArmStatus
from tests.ros.faults.fault_rig import HOLD_S, PERIOD_S, Rig

pytestmark = pytest.mark.faults
ARM = "/arm/status"


@pytest.mark.parametrize(
    ("mode", "fault", "rule", "allowed_s"),
    [
        ("silent", "joint states stop", STALE_STATE, HOLD_S),
        ("dead_bus", "dead bus (all joints at -pi)", JOINT_STATE, HOLD_S),
        ("nan", "joint states are NaN", JOINT_STATE, HOLD_S),
        # Registers are read in turn, at a low rate.
        ("hot", "a motor at 70 C", MOTORS, 6.0),
        ("error", "a motor in hardware error", MOTORS, 3.0),
        ("limp", "torque lost", MOTORS, 6.0),
    ],
)
def test_an_arm_that_cannot_be_trusted(rig: Rig, note, mode: str, fault: str, rule: str, allowed_s: float) -> None:
    begun = rig.motors(mode)
    held = rig.wait_for_hold(begun)
    rig.wait_for_reason(ARM, rule)
    healed = rig.motors("ok")
    rig.wait(lambda: rig.client.newest(ARM).state == ArmStatus.HELD, "the end of the fault")
    assert len(rig.motions(healed)) == 0  # not before an operator says so
    rig.resume()
    back = rig.wait_for_motion(healed)
    note(fault, f"holds after {held:.2f} s", rule, f"waits for /arm/resume, then moves ({back:.1f} s in all)")
    assert held <= allowed_s


def test_an_arm_process_that_is_killed_and_started_again(rig: Rig, note) -> None:
    killed = rig.kill("arm")
    held = rig.wait_for_hold(killed)
    last = np.array(rig.driver.commands("group")[-1][1])
    rig.client.heard[ARM].clear()
    started = rig.start("arm")
    back = rig.wait_for_motion(started)
    first = np.array(next(values for when, values in rig.driver.commands("group") if when > started))
    jump = 1000 * np.abs(first - last).max()
    recovery = f"moves {back:.1f} s after it is started again, with a first step of {jump:.0f} mrad"
    note("arm process killed (SIGKILL)", f"holds after {held:.2f} s", "silence", recovery)
    assert held <= HOLD_S and jump < 40.0  # one step of 4 mm turns a joint by up to 18 mrad


def test_an_arm_process_that_hangs(rig: Rig, note) -> None:
    stopped = rig.kill("arm", signal.SIGSTOP)
    held = rig.wait_for_hold(stopped)
    rig.client.heard[ARM].clear()
    woken = rig.kill("arm", signal.SIGCONT)
    rig.wait_for_reason(ARM, STALE)
    assert len(rig.motions(woken)) == 0
    rig.client.spin(2 * PERIOD_S)
    # Its thread for the joint states may have read new ones before anybody looked at the old.
    is_fault = rig.client.newest(ARM).state in (ArmStatus.FAULT, ArmStatus.HELD)
    if is_fault:
        rig.resume()
    back = rig.wait_for_motion(woken)
    reason, recovery = (STALE_STATE, "waits for /arm/resume, then moves") if is_fault else (STALE, "moves")
    note("arm process hangs (SIGSTOP)", f"holds after {held:.2f} s", reason, f"{recovery} ({back:.1f} s in all)")
    assert held <= HOLD_S


def test_a_driver_that_hangs(rig: Rig, note) -> None:
    rig.driver.process.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    rig.wait_for_reason(ARM, STALE_STATE)
    told = time.monotonic() - stopped
    rig.driver.process.send_signal(signal.SIGCONT)
    rig.wait(lambda: rig.client.newest(ARM).state == ArmStatus.HELD, "the end of the fault")
    resumed = time.monotonic()
    rig.resume()
    back = rig.wait_for_motion(resumed)
    # What was sent while the driver hung reaches it when it wakes up: at most what was allowed in that time.
    queued = len(rig.motions(stopped)) - len(rig.motions(resumed))
    recovery = f"waits for /arm/resume, then moves after {back:.2f} s"
    note("the driver hangs (SIGSTOP)", f"{queued} more commands", f"{STALE_STATE} after {told:.2f} s", recovery)
    assert queued * PERIOD_S <= HOLD_S


def test_a_hold_is_answered_at_once_and_wins(rig: Rig, note) -> None:
    answered, held = [], []
    rig.ask("/arm/hold")  # the first call of a client waits for the middleware to connect both
    rig.ask("/arm/resume")
    rig.wait_for_motion()
    for _ in range(10):
        asked = time.monotonic()
        answered.append(rig.ask("/arm/hold"))
        rig.client.spin(0.6)
        late = rig.motions(asked)
        held.append(float(late[-1] - asked) if len(late) else 0.0)
        rig.ask("/arm/resume")
        rig.wait_for_motion()
    said = f"answered in {1000 * np.median(answered):.0f} ms (median), {1000 * max(answered):.0f} ms (worst)"
    note(
        "/arm/hold while it moves, ten times",
        f"holds after {max(held):.3f} s at worst",
        said,
        "moves after /arm/resume",
    )
    assert max(answered) < 0.05
    assert max(held) < 0.1
