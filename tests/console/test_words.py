"""Promise: every state of arm, policy and recording has words and a sign, and silence never looks like health."""

from __future__ import annotations

import pytest

from mqe_core.console.link import ArmView, Diagnosis, EpisodesView, PolicyView
from mqe_core.console.words import (
    BAD,
    BUSY,
    GOOD,
    SIGNS,
    UNKNOWN,
    WARNING,
    say_arm,
    say_diagnosis,
    say_episodes,
    say_policy,
)
from mqe_core.robot.safety_rules import CLIP_RULES, NOT_NOW, REFUSE_RULES
from mqe_core.runtime.policy_reasons import REASONS


@pytest.mark.parametrize(
    ("arm", "tone", "title", "words"),
    [
        (None, UNKNOWN, "arm unknown", "nothing was heard"),
        (ArmView(0.0, "ready"), BAD, "arm silent", "for 10 s"),
        (ArmView(10.0, "ready"), GOOD, "ready", ""),
        (ArmView(10.0, "moving", commander="policy"), BUSY, "moving, by the policy", ""),
        (ArmView(10.0, "moving", commander="operator", refused="operator"), BUSY, "moving, by the operator", "refused"),
        (ArmView(10.0, "held", "operator"), WARNING, "held", "resume lets it move again"),
        (ArmView(10.0, "fault", "motors: too hot"), BAD, "fault", "motors: too hot"),
        (ArmView(10.0, "ready", dry_run=True), GOOD, "ready", "dry run"),
    ],
)
def test_the_arm_in_words(arm: ArmView | None, tone: str, title: str, words: str) -> None:
    said = say_arm(arm, 10.0)
    assert (said.tone, said.title) == (tone, title) and words in said.detail


def test_held_is_never_said_of_an_arm_that_does_not_say_so() -> None:
    for state in ("ready", "moving", "fault"):
        assert say_arm(ArmView(10.0, state), 10.0).title != "held"


@pytest.mark.parametrize("rule", sorted({*CLIP_RULES, *REFUSE_RULES, *NOT_NOW} - {"operator"}))
def test_every_rule_is_explained(rule: str) -> None:
    meaning = (CLIP_RULES | REFUSE_RULES | NOT_NOW)[rule]
    clipped = say_arm(ArmView(1.0, "moving", clipped=(rule,)), 1.0)
    refused = say_arm(ArmView(1.0, "ready", refused=rule), 1.0)
    assert meaning in clipped.detail and meaning in refused.detail and WARNING == clipped.tone == refused.tone


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_of_the_policy_is_explained(reason: str) -> None:
    said = say_policy(PolicyView(1.0, "waiting", f"{reason}: details", "cup"), 1.0)
    assert REASONS[reason] in said.detail and said.tone == WARNING and "cup" in said.title


def test_the_policy_in_words() -> None:
    assert say_policy(None, 1.0).tone == UNKNOWN
    assert say_policy(PolicyView(0.0, "running", goal="cup"), 5.0).tone == BAD
    assert say_policy(PolicyView(1.0, "running", goal="cup"), 1.0).tone == BUSY
    ended = say_policy(PolicyView(1.0, "idle", "reached: near", "cup"), 1.0)
    assert ended.title == "no goal" and ended.detail == "cup ended: reached: near"


def test_the_recording_in_words() -> None:
    assert say_episodes(None, 1.0).tone == UNKNOWN
    said = say_episodes(EpisodesView(3, True, "put it in", 1, 1, 10.0), 22.0)
    assert said.title == "recording episode 3, 12 s" and "1 kept, 1 discarded" in said.detail
    assert "put it in" in said.detail and say_episodes(EpisodesView(0, False), 1.0).title == "no episode is open"


def test_a_node_in_words() -> None:
    assert say_diagnosis(Diagnosis(1.0, 0, "recording"), 1.5).tone == GOOD
    assert say_diagnosis(Diagnosis(1.0, 2, "full"), 1.5).tone == BAD
    assert say_diagnosis(Diagnosis(1.0, 9, "?"), 1.5).tone == BAD
    assert say_diagnosis(Diagnosis(1.0, 0, "recording"), 9.0).tone == BAD  # silent


def test_every_tone_has_a_sign_of_its_own() -> None:
    assert len(set(SIGNS.values())) == len(SIGNS)
