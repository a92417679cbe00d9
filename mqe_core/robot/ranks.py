"""Who may command the arm, by rank. An operator takes it from a policy, and never the other way round.

The names stand in `/arm/status`, in recordings and in stores.
"""

from __future__ import annotations

POLICY = "policy"
OPERATOR = "operator"
RANKS: dict[str, str] = {
    POLICY: "a policy, on /policy/command",
    OPERATOR: "a person with a pad, a keyboard or a page, on /operator/command",
}
NOBODY = ""  # commands the arm: it rests, is held, or moves by itself
