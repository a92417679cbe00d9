"""What an operator does about an arm that does not move: said where its state and its refusals are said."""

from __future__ import annotations

from mqe_core.robot.ranks import OPERATOR
from mqe_core.robot.safety_rules import FREED_BY_HOMING, HELD

_HOME = "mqe arm home frees it"
# By the rule that refuses.
_LETS_GO_ON = {HELD: "mqe arm resume lets it move", OPERATOR: "mqe arm resume gives it back"}


def with_remedy(reason: str) -> str:
    """A state's reason, which begins with the rule behind it; with what helps, where it is known."""
    return f"{reason}; {_HOME}" if reason.partition(":")[0] in FREED_BY_HOMING else reason


def refusal(rule: str, reason: str) -> str:
    """Why a command was refused, for people.

    Args:
        rule: that refused it (`refused` in /arm/status).
        reason: of the arm's state, with its remedy.
    """
    said = reason if reason.partition(":")[0] == rule else ": ".join(filter(None, (rule, reason)))
    return "; ".join(filter(None, (f"the arm refuses: {said}", _LETS_GO_ON.get(rule))))
