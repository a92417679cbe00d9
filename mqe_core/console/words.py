"""A graph's state in words, as the page says it, and how good it is. A sign stands beside each colour."""

from __future__ import annotations

from dataclasses import dataclass

from mqe_core.console.link import ArmView, Diagnosis, EpisodesView, PolicyView
from mqe_core.robot.ranks import OPERATOR
from mqe_core.robot.safety_rules import CLIP_RULES, FAULT, HELD, NOT_NOW, REFUSE_RULES
from mqe_core.runtime.arm_side import MOVING
from mqe_core.runtime.policy_reasons import REASONS

GOOD, BUSY, WARNING, BAD, UNKNOWN = "good", "busy", "warning", "bad", "unknown"
SIGNS = {GOOD: "✓", BUSY: "▶", WARNING: "!", BAD: "✕", UNKNOWN: "?"}
MOST_SILENCE_S = 1.0  # of a node that speaks five times a second


@dataclass(frozen=True)
class Said:
    """`title` in a word or two, `detail` in a sentence (may be empty), and the tone, one of SIGNS."""

    tone: str
    title: str
    detail: str = ""


def say_arm(arm: ArmView | None, now: float) -> Said:
    """What the arm does, by the newest /arm/status."""
    if arm is None:
        return Said(UNKNOWN, "arm unknown", "nothing was heard from arm_node yet")
    if now - arm.heard > MOST_SILENCE_S:
        return Said(BAD, "arm silent", f"nothing heard from arm_node for {now - arm.heard:.0f} s; it was {arm.state}")
    dry = "dry run: nothing moves" if arm.dry_run else ""
    title = f"{arm.state}, by the {arm.commander}" if arm.commander and arm.state == MOVING else arm.state
    if arm.state == FAULT:
        return Said(BAD, title, _join(arm.reason, NOT_NOW[FAULT], dry))
    if arm.state == HELD:
        asked = "somebody asked for it" if arm.reason == OPERATOR else arm.reason
        remedy = "" if "resume" in asked else "resume lets it move again"
        return Said(WARNING, title, _join(asked, remedy, dry))
    if arm.refused == OPERATOR:  # he moves it, and a policy goes on asking
        return Said(BUSY, title, _join("the policy's commands are refused meanwhile", dry))
    if arm.refused:
        return Said(WARNING, title, _join(f"refused: {say_rule(arm.refused)}", dry))
    if arm.clipped:
        return Said(WARNING, title, _join("clipped: " + "; ".join(say_rule(rule) for rule in arm.clipped), dry))
    return Said(
        BUSY if arm.state == MOVING else GOOD, title, _join("" if arm.reason in CLIP_RULES else arm.reason, dry)
    )


def say_rule(rule: str) -> str:
    """`workspace (the position is moved …)`; the name alone where it means nothing here."""
    meaning = CLIP_RULES.get(rule) or REFUSE_RULES.get(rule) or NOT_NOW.get(rule)
    return f"{rule} ({meaning})" if meaning else rule


def say_policy(policy: PolicyView | None, now: float) -> Said:
    """What the policy does, by the newest /policy/status."""
    if policy is None:
        return Said(UNKNOWN, "policy unknown", "nothing was heard from policy_node yet; it may not be active")
    if now - policy.heard > MOST_SILENCE_S:
        return Said(BAD, "policy silent", f"nothing heard from policy_node for {now - policy.heard:.0f} s")
    if policy.state == "idle":
        return Said(GOOD, "no goal", f"{policy.goal} ended: {policy.reason}" if policy.goal else "send one")
    meaning = REASONS.get(policy.reason.partition(":")[0], "")
    detail = _join(policy.reason, meaning)
    if policy.state == "running":
        return Said(WARNING if policy.reason else BUSY, f"goal {policy.goal}", detail)
    return Said(WARNING, f"goal {policy.goal}: {policy.state}", detail)


def say_episodes(episodes: EpisodesView | None, now: float) -> Said:
    """What is recorded."""
    if episodes is None:
        return Said(UNKNOWN, "not recording", "start the graph with record:=true to record episodes")
    counted = f"{episodes.kept} kept, {episodes.discarded} discarded"
    label = f"“{episodes.label}”" if episodes.label else ""
    if episodes.is_open:
        length = "" if episodes.began is None else f", {now - episodes.began:.0f} s"
        return Said(BUSY, f"recording episode {episodes.number}{length}", _join(label, counted))
    return Said(GOOD, "no episode is open", _join(counted, label))


def say_diagnosis(diagnosis: Diagnosis, now: float) -> Said:
    """What a node says of itself, once a second."""
    age = now - diagnosis.heard
    if age > 3.0:
        return Said(BAD, "silent", f"for {age:.0f} s; it said: {diagnosis.message}")
    tone = (GOOD, WARNING, BAD)[min(max(diagnosis.level, 0), 2)]
    return Said(tone, ("fine", "warning", "error")[min(max(diagnosis.level, 0), 2)], diagnosis.message)


def _join(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
