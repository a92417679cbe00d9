"""An argument parser that answers a wrong word with the usage of its own subcommand, and with near names."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from typing import Any

from mqe_core.files.near_names import did_you_mean


class Parser(argparse.ArgumentParser):
    """As argparse's, which tells what a subcommand does not know with the usage of the whole program."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """All of them must be known. A subcommand's parser is asked first, so it is the one that refuses."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._near(unknown)}")
        return found, unknown

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
