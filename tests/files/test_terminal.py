"""Promise: what a command prints is shown, or told to be lost, and never a traceback; an empty path is no path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mqe_core.cli import main
from mqe_core.command_line import words_of
from mqe_core.files.bounded import in_one_line, printable
from tests.data.made_episodes import made_episode, write_store

MQE = f"{sys.executable} -m mqe_core.cli"


def _shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", [made_episode(0)]).path


@pytest.mark.parametrize(
    ("command", "redirection", "code", "said"),
    [
        ("data info STORE", "> /dev/full", 1, "mqe data: No space left on device"),
        ("data info STORE", ">&-", 0, ""),
        ("data info STORE", ">&- 2>&-", 0, ""),
        ("data info STORE", "| true; exit ${PIPESTATUS[0]}", 141, ""),
        ("data info STORE | cat", "", 0, ""),
        ("data info nowhere", "> /dev/full", 1, "mqe data: nowhere is no folder"),
        ("data info nowhere", "2>&-", 1, ""),
        ("data info nowhere", "2> /dev/full", 1, ""),
    ],
)
def test_an_output_that_cannot_be_written(store: Path, command: str, redirection: str, code: int, said: str) -> None:
    command = f"{MQE} {command.replace('STORE', str(store))}"
    if redirection.startswith("|"):
        command = f"( sleep 1; {command} )"  # on a busy machine the reader may come to its end late
    done = _shell(f"{command} {redirection}")
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert done.stderr.startswith(said) if said else not done.stderr, done.stderr
    assert done.returncode == code


def test_what_is_shown_of_a_text() -> None:
    assert printable("größe, 温度 🤖\n…") == "größe, 温度 🤖\n…"
    assert printable("\x1b[31m\udce9\u202e") == r"\x1b[31m\udce9\u202e"
    assert in_one_line("a\nb") == r"a\nb"


@pytest.mark.parametrize("option", ["data import SRC --out", "data info", "goal add --name x", "train --data S --out"])
def test_an_empty_path_is_not_the_folder_that_this_runs_in(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--out "$OUT"` of a variable that is not set."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([*option.split(), ""])
    assert ended.value.code == 2 and "expected a path, got nothing" in capsys.readouterr().err
    assert not os.listdir(tmp_path)


def test_an_error_of_the_system_is_said_without_its_number(tmp_path: Path) -> None:
    for act in (lambda: (tmp_path / "a").rmdir(), lambda: os.rename(tmp_path / "a", tmp_path / "b")):
        with pytest.raises(OSError) as error:
            act()
        said = words_of(error.value)
        assert said.startswith(str(tmp_path / "a")) and said.endswith(": No such file or directory")
    assert words_of(OSError("no address")) == "no address"
    assert words_of(ValueError("[Errno 2]")) == "[Errno 2]"
