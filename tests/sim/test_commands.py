"""`mqe sim` names what the simulator knows, though it loads no simulator to print its help."""

from __future__ import annotations

import argparse

import pytest

from mqe_sim.bullet import RENDERERS
from mqe_sim.commands import RANDOMISE_HELP, add_arguments
from mqe_sim.variation import NAMES


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser


@pytest.mark.parametrize(
    "command", [["collect", "--episodes", "1", "--out", "raw"], ["goal", "--seed", "1", "--out", "g.png"]]
)
def test_every_renderer_can_be_asked_for_and_no_other(command: list[str], parser: argparse.ArgumentParser) -> None:
    for renderer in RENDERERS:
        assert parser.parse_args([*command, "--renderer", renderer]).renderer == renderer
    with pytest.raises(SystemExit):
        parser.parse_args([*command, "--renderer", "vulkan"])


def test_the_help_lists_every_randomisation() -> None:
    assert RANDOMISE_HELP.split(": ")[1].split(", ") == list(NAMES)


def test_names_are_separated_by_commas(parser: argparse.ArgumentParser) -> None:
    arguments = ["collect", "--episodes", "1", "--out", "raw", "--randomise", " colours, light,"]
    assert parser.parse_args(arguments).randomise == ("colours", "light")
