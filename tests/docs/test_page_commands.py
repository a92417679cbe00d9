"""Promise: every command that a page shows parses. Subcommands, options, targets, modules and arguments exist."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import re
from pathlib import Path

import pytest

from mqe_core.cli import build_parser
from tests.docs.doc_pages import PAGES, ROOT, commands, lines, quoted, shell_lines
from tests.docs.page_tables import BRINGUP_SOURCES, calls

OF_THE_PAST = ("history.md", "CHANGELOG.md")
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
GRAPH_ARGUMENTS = {call.args[0].value for call in calls(BRINGUP_SOURCES / "arguments.py", "Argument")}
OTHERS_ARGUMENTS = {"robot_model", "use_gripper"}  # of the arm's driver
SOURCES = {"mqe_bringup": BRINGUP_SOURCES.parent, "mqe_core": ROOT, "mqe_ros": ROOT / "ros2_ws/src/mqe_ros"}
mqe_parser = functools.cache(build_parser)


def parser_of(parser: argparse.ArgumentParser, words: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser of the subcommand that the words begin with, and the words after it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and words and not words[0].startswith("-"):
            assert words[0] in action.choices, f"no subcommand {words[0]}; there are {', '.join(action.choices)}"
            return parser_of(action.choices[words[0]], words[1:])
    return parser, words


def check_options(words: list[str]) -> None:
    """Every option of a `mqe` command exists; values may be missing or stand for something, as in prose."""
    deepest, rest = parser_of(mqe_parser(), words)
    known = {option for action in deepest._actions for option in action.option_strings}
    unknown = [word for word in rest if word.startswith("--") and word.split("=")[0] not in known]
    assert not unknown, f"no option {', '.join(unknown)} of {deepest.prog}"


def check_parses(words: list[str]) -> None:
    """A whole `mqe` command, as a shell would hand it over."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            mqe_parser().parse_args(words)
        except SystemExit as ended:
            assert ended.code == 0, said.getvalue().strip().splitlines()[-1]


def check_script(words: list[str]) -> None:
    """`python -m MODULE` or `python FILE`: the source exists, and names each option."""
    if words[:1] == ["-m"]:
        package = words[1].split(".")[0]
        if package not in SOURCES:
            return  # somebody else's: pytest, pip
        path, options = SOURCES[package] / (words[1].replace(".", "/") + ".py"), words[2:]
    else:
        path, options = ROOT / words[0], words[1:]
    assert path.is_file(), f"no {path}"
    for option in options:
        if option.startswith("--"):
            assert f'"{option.split("=")[0]}"' in path.read_text(encoding="utf-8"), f"{path.name} has no {option}"


def check(words: list[str], is_whole: bool) -> None:
    """One command of a page; those of other programs are not looked at."""
    if re.match(r"\w+:=", words[0]) or words[:2] == ["mqe", "up"] or words[:3] == ["ros2", "launch", "mqe_bringup"]:
        unknown = (
            {word.split(":=")[0] for word in words if re.match(r"\w+:=", word)} - GRAPH_ARGUMENTS - OTHERS_ARGUMENTS
        )
        assert not unknown, f"no argument {', '.join(unknown)}"
    if words[0] == "mqe":
        (check_parses if is_whole else check_options)(words[1:])
    elif words[0] == "make" and (is_whole or len(words) == 2):  # `make a policy with` is a message
        named = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
        assert set(named) <= TARGETS, f"no target {', '.join(named)}"
    elif words[0] in ("python", "python3") and len(words) > 1:
        check_script(words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_the_page_exists(page: Path) -> None:
    if page.name in OF_THE_PAST:
        return
    shown = [(line, words, True) for line in shell_lines(page) for words in commands(line.text)]
    for line in lines(page):
        spans = quoted(line.text) if line.language is None else ()
        shown += [(line, words, False) for span in spans for words in commands(span)]
    wrong = []
    for line, words, is_whole in shown:
        try:
            check(words, is_whole)
        except AssertionError as error:
            wrong.append(f"{line}\n    {error}")
    assert not wrong, "\n".join(wrong)


def test_a_wrong_command_is_found() -> None:
    for words in (
        ["mqe", "fly"],
        ["mqe", "eval", "--taks", "place1"],
        ["make", "coffee"],
        ["mqe", "up", "gaol:=place.png"],
        ["python", "benchmarks/nothing.py"],
    ):
        with pytest.raises(AssertionError):
            check(words, False)
    with pytest.raises(AssertionError, match="invalid int"):
        check(["mqe", "eval", "--policy", "p.onnx", "--task", "place1", "--episodes", "many"], True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_hides_in_a_block_of_output(page: Path) -> None:
    hidden = [str(line) for line in lines(page) if line.language == "text" and re.match(r"(mqe|make) \w", line.text)]
    assert not hidden, f"a block for a shell has no language: {hidden}"
