"""The result of an evaluation as JSON: what stands in it, how its scores are summed up, and how it is read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from mqe_core.closed_loop.intervals import wilson_interval
from mqe_core.files.text import read_json_mapping

RESULT_FILE = "result.json"  # in the folder of `mqe eval --out`


class ScoreSummary(TypedDict):
    """Rate of full scores and mean score, each with its 95 % Wilson interval [low, high]."""

    episodes: int
    success_rate: float
    ci95: list[float]
    mean_score: float
    mean_score_ci95: list[float]
    max_score: float


class Result(ScoreSummary):
    """What `mqe eval --json` prints: the scores, and what was evaluated. `stage` counts from 1, `refused` the goals
    that the policy's side called unreachable.
    """

    task: str
    seed: int
    randomise: list[str]
    stage: int | None
    refused: int
    choice: str
    policy: str
    fingerprint: str
    outcomes: list[dict[str, Any]]  # of each episode


def summarise(scores: Sequence[float], max_score: float) -> ScoreSummary:
    """The scores of all episodes, summed up; success is `max_score`."""
    successes = sum(score >= max_score for score in scores)
    return {
        "episodes": len(scores),
        "success_rate": successes / len(scores),
        "ci95": list(wilson_interval(successes, len(scores))),
        "mean_score": float(np.mean(scores)),
        "mean_score_ci95": [bound * max_score for bound in wilson_interval(sum(scores) / max_score, len(scores))],
        "max_score": max_score,
    }


def title(task: str, stage: int | None) -> str:
    """What was played, in words: the task, and its stage, from 1, where one alone was played."""
    return task if stage is None else f"{task}, stage {stage}"


@dataclass(frozen=True)
class StoredScores:
    """The scores of one stored result, each divided by the full score, by the seed of their scene."""

    file: Path
    title: str
    by_scene: dict[int, float]


def read_scores(path: Path) -> StoredScores:
    """The scores in `path`, a result.json or a folder that holds one.

    Raises ValueError for another file, and for a result whose scenes were randomised.
    """
    file = path / RESULT_FILE if path.is_dir() else path
    try:
        result = read_json_mapping(file)
        if result.get("randomise"):
            raise ValueError(f"its scenes were randomised: {', '.join(result['randomise'])}")
        scores = {o["scene_seed"]: o["score"] / result["max_score"] for o in result["outcomes"]}
        return StoredScores(file, title(result["task"], result.get("stage")), scores)
    except (OSError, KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"{file} is no result of `mqe eval` that can be paired ({error})") from error
