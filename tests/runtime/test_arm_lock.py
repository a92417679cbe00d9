"""Promise: of one machine's processes only one holds the arm of a ROS domain, and no dead one keeps it."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mqe_core.runtime import arm_lock
from mqe_core.runtime.arm_lock import ArmLock, holder, require_free

HOLD = """
import sys, time
from mqe_core.runtime.arm_lock import ArmLock
lock = ArmLock(int(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""
USER = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def domain() -> int:
    """No graph's: such numbers are refused everywhere else."""
    return 10_000 + os.getpid()


@pytest.fixture
def other(domain: int) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds it."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(domain)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_one_is_refused_and_hears_who_is_there(domain: int, other: subprocess.Popen[str]) -> None:
    for attempt in (ArmLock, require_free):
        with pytest.raises(ValueError, match=f"another arm_node runs in ROS domain .* process {other.pid} of the user"):
            attempt(domain)
    ArmLock(domain + 1).close()  # another domain is free
    assert holder(domain) == f"process {other.pid} of the user {USER}"


def test_one_that_is_stopped_holds_it_and_one_that_was_killed_does_not(
    domain: int, other: subprocess.Popen[str]
) -> None:
    other.send_signal(signal.SIGSTOP)
    os.waitpid(other.pid, os.WUNTRACED)
    with pytest.raises(ValueError, match=f"which is stopped and would go on at any time .kill -KILL {other.pid} ends"):
        ArmLock(domain)
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # nobody has asked how it ended yet
    ArmLock(domain).close()


def test_it_is_let_go_of_and_asking_takes_nothing(domain: int) -> None:
    for _ in range(2):
        require_free(domain)
        lock = ArmLock(domain)
        lock.close()
        lock.close()
    assert holder(domain) is None


def test_a_child_of_the_holder_does_not_keep_it(domain: int) -> None:
    lock = ArmLock(domain)
    child = subprocess.Popen(["sleep", "600"], close_fds=False)
    try:
        lock.close()
        ArmLock(domain).close()
    finally:
        child.kill()
        child.wait()


def test_many_may_ask_a_holder_that_answers_nobody(domain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm_lock, "_WAITING", 3)
    lock = ArmLock(domain)
    for _ in range(10):
        with pytest.raises(ValueError, match="another arm_node runs"):
            ArmLock(domain)
        assert holder(domain) is not None
    lock.close()


def test_a_name_that_the_system_refuses_is_told_and_keeps_nobody_out(
    domain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", refuse)
    lock = ArmLock(domain)
    assert "Permission denied" in lock.problem and holder(domain) is None
    lock.close()
