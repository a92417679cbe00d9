"""Promise: the command line answers in words, whatever Python's options, a file's name, or the moment of a Ctrl-C."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mqe_core.cli import build_parser, main


def commands(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and subcommand."""
    yield words
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield from commands(sub, (*words, name))


def test_every_help_is_the_same_without_docstrings() -> None:
    script = """
import sys
from mqe_core.cli import main
for line in sys.stdin.read().splitlines():
    try:
        main([*line.split(), "--help"])
    except SystemExit as end:
        assert end.code == 0, line
"""
    lines = "\n".join(" ".join(words) for words in commands(build_parser()))
    environment = {**os.environ, "COLUMNS": "100"}
    shown = [
        subprocess.run(
            [sys.executable, *options, "-c", script], input=lines, capture_output=True, text=True, env=environment
        )
        for options in ([], ["-O"], ["-OO"])
    ]
    assert [done.returncode for done in shown] == [0, 0, 0], shown[2].stderr
    assert shown[0].stdout == shown[1].stdout == shown[2].stdout


@pytest.mark.parametrize(
    ("words", "usage", "said"),
    [
        ("gaol list", "mqe", "(choose from .*); did you mean goal?"),
        ("goal sned cup", "mqe goal", "(choose from .*); did you mean send?"),
        ("goal send cup --tiemout 3", "mqe goal send", "unrecognized arguments: --tiemout 3; did you mean --timeout?"),
        ("goal capture cup --camera 0 --backend mokc", "mqe goal capture", "; did you mean mock?"),
        ("goal list everything", "mqe goal list", "unrecognized arguments: everything"),
        ("up --tsk place", "mqe up", "unrecognized arguments: --tsk; did you mean task:=?"),
        ("up --list-argumets", "mqe up", "did you mean --list-arguments?"),
        ("train --reusme", "mqe train", "did you mean --resume or --set?"),
        ("sim goall", "mqe sim", "did you mean goal?"),
        ("--degub goal list", "mqe", "unrecognized arguments: --degub; did you mean --debug?"),
    ],
)
def test_a_wrong_word_is_answered_with_its_own_usage_and_near_names(
    words: str, usage: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    complained = capsys.readouterr().err
    assert ended.value.code == 2
    assert complained.startswith(f"usage: {usage} [-h]")
    pattern = re.escape(said).replace(re.escape("(choose from .*)"), r"\(choose from .*\)")
    assert re.search(pattern, complained), complained


@pytest.mark.parametrize(
    "arguments",
    [["goal", "list"], ["data", "info", "STORE"], ["inspect", "POLICY"], ["data", "info", "nowhere"]],
    ids=lambda arguments: " ".join(arguments),
)
def test_commands_work_without_docstrings_and_asserts(arguments, synthetic_store, make_bundle) -> None:
    places = {"STORE": str(synthetic_store), "POLICY": str(make_bundle())}
    words = [places.get(word, word) for word in arguments]
    done = subprocess.run(
        [sys.executable, "-OO", "-m", "mqe_core.cli", *words], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == (1 if "nowhere" in words else 0) and "Traceback" not in done.stderr, done.stderr


def test_a_program_beside_the_commands_starts_without_docstrings() -> None:
    command = [sys.executable, "-OO", "-m", "mqe_sim.server", "--help"]
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == 0


def test_a_file_name_that_is_not_utf8_is_shown_and_used(tmp_path: Path, synthetic_store: Path) -> None:
    store = os.fsencode(tmp_path) + b"/caf\xe9"
    os.symlink(synthetic_store, store)
    for command, code in (([b"data", b"info", store], 0), ([b"data", b"info", store + b"2"], 1)):
        done = subprocess.run([sys.executable, b"-m", b"mqe_core.cli", *command], capture_output=True, timeout=120)
        assert done.returncode == code and b"Traceback" not in done.stderr
        assert rb"caf\udce9" in done.stdout + done.stderr


def test_a_store_of_names_that_are_not_utf8_is_merged(tmp_path: Path, synthetic_store: Path) -> None:
    out = tmp_path / os.fsdecode(b"\xff")
    assert main(["data", "merge", str(synthetic_store), "--out", str(out)]) == 0
    assert main(["data", "info", str(out), "--json"]) == 0


@pytest.mark.parametrize("delay_s", [0.15, 0.3, 0.5, 0.8, 1.2])
def test_ctrl_c_while_it_starts_shows_no_traceback(delay_s: float, make_bundle, tmp_path: Path) -> None:
    """Of a command that takes seconds: its imports, its policy, its scene."""
    policy = str(make_bundle())
    command = [sys.executable, "-m", "mqe_core.cli", "run", "--policy", policy, "--task", "place1", "--seconds", "60"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    _wait_until_python_hears(process.pid)
    try:
        process.wait(delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    # Python ends by the signal itself where Ctrl-C came inside an exec of text, as dataclasses use. A shell shows 130
    # for both.
    assert process.returncode in (130, -signal.SIGINT), (process.returncode, said)
    assert "Traceback" not in said and "interrupted" in said


@pytest.mark.parametrize("raised", [ImportError("initialization failed"), ModuleNotFoundError("no half", name="half")])
def test_ctrl_c_that_an_import_turned_into_its_own_error(
    raised: ImportError, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As compiled modules do."""

    def importing(args: argparse.Namespace) -> int:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            raise raised from interrupt

    monkeypatch.setattr("mqe_core.commands.doctor.run", importing)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "mqe doctor: interrupted\n"


def test_what_fails_while_a_ctrl_c_is_answered_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def saving(args: argparse.Namespace) -> int:
        try:
            raise KeyboardInterrupt
        finally:
            raise OSError("no space left")

    monkeypatch.setattr("mqe_core.commands.doctor.run", saving)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == "mqe doctor: no space left\n"


def _wait_until_python_hears(pid: int) -> None:
    """Before, the signal ends the process without a word."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
        if caught & 1 << (signal.SIGINT - 1):
            time.sleep(0.1)  # Python's own start, in which no code of ours runs
            return
        time.sleep(0.005)
    raise AssertionError("Python did not begin to hear Ctrl-C within 30 s")


@pytest.mark.parametrize(
    "command", ["sim collect --episodes 50 --workers 2 --out OUT", "eval --policy POLICY --workers 2"]
)
@pytest.mark.parametrize("delay_s", [1.5, 3.0, 5.0])
def test_ctrl_c_shows_no_traceback_of_workers(command: str, delay_s: float, make_bundle, tmp_path: Path) -> None:
    """As a terminal sends it: to the workers too, which may be starting."""
    pytest.importorskip("pybullet")
    places = {"OUT": str(tmp_path / "out"), "POLICY": str(make_bundle())}
    words = [places.get(word, word) for word in command.split()]
    process = subprocess.Popen(
        [sys.executable, "-m", "mqe_core.cli", *words],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT) and "Traceback" not in said and "interrupted" in said, said
