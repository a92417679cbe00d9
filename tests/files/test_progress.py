"""Promise: a log holds whole lines of progress, few of them; a terminal has a bar that moves."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from mqe_core.files import progress
from mqe_core.files.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar() -> None:
    terminal = Terminal()
    for _ in Progress(range(3), desc="counting", unit="step", file=terminal, mininterval=0):
        pass
    said = terminal.getvalue()
    assert said.count("\r") >= 3 and "counting: 100%" in said and "3/3" in said


@pytest.mark.parametrize("leave", [True, False])
def test_a_file_has_whole_lines(leave: bool) -> None:
    file = io.StringIO()
    for _ in Progress(range(1000), desc="counting", unit="step", file=file, leave=leave):
        pass
    lines = file.getvalue().splitlines()
    assert "\r" not in file.getvalue() and 1 <= len(lines) <= 3
    assert all(line.startswith("counting:") for line in lines) and "1000/1000" in lines[-1]


def test_a_bar_in_a_bar_has_lines_of_its_own() -> None:
    file = io.StringIO()
    for _ in Progress(range(2), desc="outer", file=file):
        for _ in Progress(range(2), desc="inner", file=file):
            pass
    lines = file.getvalue().splitlines()
    assert all(line.startswith(("outer:", "inner:")) for line in lines) and "\x1b" not in file.getvalue()
    assert sum("2/2" in line for line in lines) == 3


def test_none_is_shown_where_none_is_asked_for() -> None:
    file = io.StringIO()
    with Progress(total=3, file=file, disable=True) as bar:
        bar.update(3)
    assert file.getvalue() == "" and bar.n == 0


def test_lines_come_at_their_time_however_long_a_step_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE_S", 5.0)
    now = [0.0]
    file = io.StringIO()
    bar = Progress(total=100, file=file)
    monkeypatch.setattr(bar, "_time", lambda: now[0])
    bar.start_t = bar.last_print_t = 0.0
    for step in range(100):
        now[0] += 0.01 if step < 50 else 1.0
        bar.update(1)
    bar.close()
    counts = [line.partition("|")[2].partition("|")[2].split("/")[0].strip() for line in file.getvalue().split("\n")]
    assert 10 <= len([count for count in counts if count]) <= 14, counts


def test_a_command_whose_words_go_to_a_file_writes_no_bar(synthetic_store: Path, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        command = ["data", "verify", str(synthetic_store)]
        done = subprocess.run([sys.executable, "-m", "mqe_core.cli", *command], stdout=log, stderr=log)
    assert done.returncode == 0 and b"\r" not in (tmp_path / "log").read_bytes()
