"""Promise: a step of the Makefile is one line; what its command said is in a file, which is named where it fails."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "requirements" / "quietly.py"


def command(log: Path, *words: str) -> list[str]:
    return [sys.executable, str(SCRIPT), str(log), "installing it", *words]


def test_a_step_that_succeeds_is_one_line(tmp_path: Path) -> None:
    log = tmp_path / "new" / "step.log"
    done = subprocess.run(command(log, "sh", "-c", "echo a; echo b >&2"), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "== installing it\n", "")
    assert log.read_text() == "a\nb\n"


def test_a_step_that_fails_says_its_last_words_and_where_the_rest_is(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    script = "for i in $(seq 1000); do echo line $i; done; printf 'half\\rwhole\\n'; exit 3"
    done = subprocess.run(command(log, "sh", "-c", script), capture_output=True, text=True)
    *shown, last = done.stderr.splitlines()
    assert done.returncode == 3 and last == f"installing it failed; all that was said: {log}"
    assert shown[-2:] == ["line 1000", "whole"] and len(shown) == 25
    missing = subprocess.run(command(log, "no_such_program"), capture_output=True, text=True)
    assert missing.returncode == 127 and "no_such_program cannot be started" in missing.stderr


def test_on_a_terminal_it_shows_that_it_is_alive(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    step = subprocess.Popen(
        command(tmp_path / "step.log", "sh", "-c", "echo at work; read x < wait"),
        stdout=slave,
        cwd=tmp_path,
        preexec_fn=lambda: os.mkfifo(tmp_path / "wait"),
    )
    os.close(slave)
    shown = b""
    while b"at work" not in shown:
        shown += os.read(master, 1000)
    (tmp_path / "wait").write_text("go on\n")
    assert step.wait(60) == 0
    os.close(master)


def test_ctrl_c_ends_it_and_its_command(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    step = subprocess.Popen(
        command(tmp_path / "step.log", "sh", "-c", f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 600"),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not pid.exists():
        time.sleep(0.02)
    os.killpg(step.pid, signal.SIGINT)
    _, complained = step.communicate(timeout=60)
    assert step.returncode != 0 and complained == "\ninstalling it: interrupted\n"
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()
