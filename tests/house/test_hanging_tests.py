"""Promise: a test that hangs where Python hears no signal ends its process, and shows where it hangs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# As in a deadlock inside a compiled library.
DEAF = """
import signal, time, pytest

def hear_nothing():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(60)

def test_that_hears_nothing():
    hear_nothing()
"""
DEAF_AFTER_A_FAILURE = (
    DEAF.replace("def test_that", "@pytest.fixture\ndef that")
    + """
@pytest.fixture
def ends_badly():
    yield
    hear_nothing()

def test_that_fails(ends_badly):
    assert False
"""
)
IMPATIENT = """
import sys, pytest
from tests import conftest
conftest.DEAF_S = 2.0
class Guard:
    pytest_configure = staticmethod(conftest.pytest_configure)
    pytest_runtest_protocol = staticmethod(conftest.pytest_runtest_protocol)
    pytest_runtest_teardown = staticmethod(conftest.pytest_runtest_teardown)
sys.exit(pytest.main(["-c", *sys.argv[1:]], plugins=[Guard()]))
"""


def run(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\ntimeout = 1\n")
    test = folder / "test_deaf.py"
    test.write_text(text)
    command = [sys.executable, "-c", IMPATIENT, str(folder / "pytest.ini"), str(test), *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=50)


@pytest.mark.parametrize("text", [DEAF, DEAF_AFTER_A_FAILURE], ids=["deaf", "deaf after a failure"])
def test_a_test_that_hears_nothing_ends_the_run(text: str, tmp_path: Path) -> None:
    done = run(tmp_path, text)
    assert done.returncode == 1
    assert "Timeout" in done.stderr and "in hear_nothing" in done.stderr, done.stderr


def test_without_a_limit_nothing_ends_it(tmp_path: Path) -> None:
    done = run(tmp_path, DEAF.replace("60", "4"), "--timeout", "0")
    assert done.returncode == 0, done.stdout + done.stderr
