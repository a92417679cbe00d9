"""An argument parser that answers a wrong word with the usage of its own subcommand, and with near names."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mqe_core.files.bounded import printable
from mqe_core.files.near_names import did_you_mean


class Parser(argparse.ArgumentParser):
    """As argparse's, which tells what a subcommand does not know with the usage of the whole program."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """All of them must be known. A subcommand's parser is asked first, so it is the one that refuses."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._near(unknown)}")
        return found, unknown

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """An empty path would mean the folder that this runs in."""
        if action.type is Path and not arg_string:
            raise argparse.ArgumentError(action, "expected a path, got nothing: is a variable of the shell empty?")
        return super()._get_value(action, arg_string)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            near = did_you_mean(str(value), map(str, action.choices or ()))
            raise argparse.ArgumentError(action, f"{error.message}{near}") from error

    def _near(self, unknown: Iterable[str]) -> str:
        options = [option for action in self._actions for option in action.option_strings]
        # Arguments of the form name:=value, which is how ROS writes them, stand in the help.
        named = [name for action in self._actions for name in re.findall(r"\w+:=", action.help or "")]
        for word in unknown:
            near = did_you_mean(word.partition("=")[0], options) if word.startswith("-") else ""
            if near := near or did_you_mean(f"{word.lstrip('-').partition(':=')[0]}:=", named):
                return near
        return ""


class _Formatter(logging.Formatter):
    """Names of files come into messages: what would steer the terminal is shown as its escape."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def log_to_terminal(debug: bool) -> None:
    """Messages of all modules go to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[handler])


def words_of(error: Exception) -> str:
    """What an error says, without the number that the system has for it."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{' to '.join(names)}: {error.strerror}" if names else error.strerror
