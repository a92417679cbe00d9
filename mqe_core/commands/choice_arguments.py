"""Arguments that `mqe export` and `mqe eval --run` share: how a finished run chooses."""

from __future__ import annotations

import argparse


def add_choice_arguments(parser: argparse.ArgumentParser) -> None:
    """How a run with actor: flow or proposal_steps chooses, where that is not to be as it was trained."""
    for name, meaning in (
        ("candidates", "actions or subgoals among which the critic chooses"),
        ("flow-steps", "Euler steps that make each of them"),
    ):
        parser.add_argument(
            f"--{name}",
            metavar="N",
            type=int,
            help=f"of a run with actor: flow or proposal_steps: {meaning} (default: the run's)",
        )


def choice_changes(args: argparse.Namespace) -> dict[str, int]:
    """What `add_choice_arguments` was given, as keys of the configuration."""
    return {name: value for name in ("candidates", "flow_steps") if (value := getattr(args, name)) is not None}
