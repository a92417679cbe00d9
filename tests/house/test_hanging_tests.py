"""Promise: a test that hangs where Python hears no signal ends the run, and shows where it hangs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
# As in a deadlock inside a compiled library.
DEAF = """
import signal, time

def test_that_hears_nothing():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(60)
"""
IMPATIENT = """
import sys, pytest
from tests import conftest
conftest.DEAF_S = 2.0
class Guard:
    pytest_configure = staticmethod(conftest.pytest_configure)
    pytest_runtest_protocol = staticmethod(conftest.pytest_runtest_protocol)
sys.exit(pytest.main(["-c", sys.argv[1], sys.argv[2]], plugins=[Guard()]))
"""


def test_a_test_that_hears_nothing_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ntimeout = 1\n")
    test = tmp_path / "test_deaf.py"
    test.write_text(DEAF)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT, str(tmp_path / "pytest.ini"), str(test)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert time.monotonic() - began < 50
    assert done.returncode == 1
    assert "Timeout" in done.stderr and "test_that_hears_nothing" in done.stderr, done.stderr
