"""Who chooses among a policy's candidates in an evaluation: its critic, or chance as the control."""

from __future__ import annotations

CHOICES = ("critic", "random")


def check_choice(choice: str, chooses: bool) -> None:
    """ValueError where nobody of that name chooses, or chance shall and there is nothing to choose from."""
    if choice not in CHOICES:
        raise ValueError(f"choice must be one of {', '.join(CHOICES)}, got {choice!r}")
    if choice == "random" and not chooses:
        raise ValueError(
            "--choice random needs a policy with candidates, of a run with actor: flow or with proposal_steps; this "
            "one has one answer"
        )
