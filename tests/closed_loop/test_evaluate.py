"""Evaluation is deterministic, counts honestly, and refuses a policy of another domain."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from mqe_core.cli import main
from mqe_core.closed_loop import evaluate as module
from mqe_core.closed_loop.comparison import compare
from mqe_core.closed_loop.evaluate import EvaluationSettings, evaluate
from mqe_core.closed_loop.intervals import wilson_interval
from mqe_core.images import read as read_image
from mqe_core.runtime.loopback import LoopbackRobot, ReplayCamera
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED


class FastClock:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep_until(self, t: float) -> None:
        self.time = max(self.time, t)


class ReachScene:
    """A scene without physics: solved when the tool has come 5 cm forward; even seeds begin with the goal
    behind.
    """

    task, max_steps, max_score = "reach", 8, 2.0
    opened: list[int] = []
    closed: list[int] = []

    def __init__(self, spec, seed: int) -> None:
        self.seed, self.clock = seed, FastClock()
        self.robot = LoopbackRobot(
            spec, clock=self.clock, start_joints=np.array([0.0, 0.02201, 0.18310, 0.0, 1.36568, 0.0])
        )
        self.goal = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        self.camera = ReplayCamera(spec, clock=self.clock, frames=[self.goal, self.goal ^ 1], domain="sim")
        self._start = self.robot.observe().pose[0, 3]
        ReachScene.opened.append(seed)

    def score(self) -> float:
        reached = self.robot.observe().pose[0, 3] - self._start > 0.05
        return 2.0 if reached and self.seed % 2 else 0.5

    def close(self) -> None:
        ReachScene.closed.append(self.seed)


@pytest.fixture
def reach(monkeypatch) -> type[ReachScene]:
    ReachScene.opened, ReachScene.closed = [], []
    monkeypatch.setattr(module, "make_scene", lambda backend, spec, task, seed: ReachScene(spec, seed))
    return ReachScene


def test_summary_counts_what_the_scenes_scored(reach, make_bundle, spec) -> None:
    settings = EvaluationSettings("reach", 5, 3)
    result = evaluate(make_bundle(action=(0.012, 0, 0, 0, 0, 0, 1)), spec, settings, progress=False)
    summary = result.summary()
    assert reach.opened == [FIRST_EVALUATION_SEED + 3 + i for i in range(5)] and reach.closed == reach.opened
    assert summary["episodes"] == 5 and summary["success_rate"] == pytest.approx(3 / 5)
    assert summary["mean_score"] == pytest.approx((3 * 2.0 + 2 * 0.5) / 5) and summary["max_score"] == 2.0
    assert summary["ci95"] == list(wilson_interval(3, 5)) and summary["task"] == "reach"
    assert [o["steps"] for o in summary["outcomes"]] == [8] * 5
    json.dumps(summary)


def test_what_the_filter_did_is_in_the_outcome(reach, make_bundle, spec) -> None:
    # 50 mm forward eight times from x = 0.30 meets the end of the box at 0.45.
    policy = make_bundle(action=(0.05, 0, 0, 0, 0, 0, 1))
    result = evaluate(policy, spec, EvaluationSettings("reach", 1), progress=False)
    assert result.outcomes[0].rules["workspace"] >= 4


def test_a_refused_goal_is_counted_and_its_scene_scored_as_it_is(reach, make_bundle, spec, monkeypatch, capfd) -> None:
    """Scenes of odd seeds ask for what lies in another one."""
    bright = np.full((8, 8, 3), 255, np.uint8)
    begun = ReachScene.__init__

    def begin(self, spec, seed: int) -> None:
        begun(self, spec, seed)
        self.goal = bright if seed % 2 else self.goal

    monkeypatch.setattr(ReachScene, "__init__", begin)
    policy = make_bundle(action=(0.012, 0, 0, 0, 0, 0, 1), unreachable_steps=50.0)
    result = evaluate(policy, spec, EvaluationSettings("reach", 4), progress=False)
    assert [outcome.refused for outcome in result.outcomes] == [False, True, False, True]
    assert [outcome.steps for outcome in result.outcomes] == [8, 3, 8, 3]
    assert [outcome.score for outcome in result.outcomes] == [0.5] * 4  # it did not move: else odd ones score 2
    assert result.outcomes[1].rules == {"far_goal": 2, "unreachable_goal": 1} and result.summary()["refused"] == 2
    anyway = evaluate(policy, spec, EvaluationSettings("reach", 4, anyway=True), progress=False)
    assert anyway.summary()["refused"] == 0 and [outcome.score for outcome in anyway.outcomes] == [0.5, 2.0] * 2
    assert main(["eval", "--policy", str(policy), "--task", "reach", "--episodes", "4"]) == 0
    assert "; 2 goals refused as unreachable" in capfd.readouterr().out


def test_a_scene_is_closed_when_the_episode_fails(reach, make_bundle, spec, monkeypatch) -> None:
    def fail(self):
        raise RuntimeError("no picture")

    monkeypatch.setattr(ReplayCamera, "read", fail)
    with pytest.raises(RuntimeError, match="no picture"):
        evaluate(make_bundle(), spec, EvaluationSettings("reach", 1), progress=False)
    assert reach.closed == [FIRST_EVALUATION_SEED]


def test_a_real_policy_is_refused_in_the_sim(reach, make_bundle, spec) -> None:
    with pytest.raises(ValueError, match="shows sim images, but the policy was trained on real"):
        evaluate(make_bundle(domain="real"), spec, EvaluationSettings("reach", 1), progress=False)


@pytest.mark.parametrize(("episodes", "workers", "seed"), [(0, 1, 0), (1, 0, 0), (1, 1, -1)])
def test_senseless_counts_are_refused(make_bundle, spec, episodes, workers, seed) -> None:
    with pytest.raises(ValueError, match="at least"):
        evaluate(make_bundle(), spec, EvaluationSettings("reach", episodes, seed), workers=workers)


def test_evaluation_scenes_and_collection_scenes_are_apart(tmp_path) -> None:
    pytest.importorskip("pybullet")
    from mqe_sim.collect import CollectionSettings, collect

    with pytest.raises(ValueError, match="evaluation seeds"):
        collect(CollectionSettings("place1", seed=FIRST_EVALUATION_SEED - 1), 2, tmp_path)


def test_the_sim_gives_the_same_result_twice_and_the_command_prints_only_json(make_bundle, spec, capfd) -> None:
    pytest.importorskip("pybullet")
    policy = make_bundle(action=(0.01, 0.005, -0.01, 0, 0, 0, 0.2))
    result = evaluate(policy, spec, EvaluationSettings("place1", 1, 4), progress=False)
    capfd.readouterr()
    assert main(["eval", "--policy", str(policy), "--task", "place1", "--episodes", "1", "--seed", "4", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == json.loads(json.dumps(result.summary()))


def test_one_stage_of_a_task_can_be_played_alone(make_bundle, spec, capfd, tmp_path) -> None:
    """Of two objects the second is left to do, in the time of one; such a result is paired with its like only."""
    pytest.importorskip("pybullet")
    policy = make_bundle(action=(0.0, 0.0, 0.005, 0, 0, 0, 1.0))
    command = [
        "eval",
        "--policy",
        str(policy),
        "--task",
        "place2",
        "--episodes",
        "1",
        "--out",
        str(tmp_path),
        "--only-stage",
    ]
    assert main([*command, "2"]) == 0
    assert "place2, stage 2: 0 of 1 scenes solved" in capfd.readouterr().out
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["stage"], result["max_score"], result["outcomes"][0]["steps"]) == (2, 1.0, 70)
    assert (tmp_path / "episodes.csv").read_text().splitlines()[1].startswith('"place2, stage 2",')
    assert list(compare([tmp_path], [tmp_path]).tasks) == ["place2, stage 2"]
    (tmp_path / "whole.json").write_text(json.dumps({**result, "stage": None}))
    with pytest.raises(ValueError, match="different tasks"):
        compare([tmp_path], [tmp_path / "whole.json"])
    assert main([*command[:-3], "--only-stage", "3"]) == 1
    assert "place2 has stages 1 to 2, not a stage 3" in capfd.readouterr().err


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(make_bundle, spec) -> None:
    pytest.importorskip("pybullet")
    policy = make_bundle(action=(0.01, 0.005, -0.01, 0, 0, 0, 0.2))
    settings = EvaluationSettings("place1", 4)
    assert evaluate(policy, spec, settings) == evaluate(policy, spec, settings, workers=3)


def test_an_unknown_task_is_an_error_of_one_line(make_bundle: Path, capfd) -> None:
    pytest.importorskip("pybullet")
    assert main(["eval", "--policy", str(make_bundle()), "--task", "juggle", "--episodes", "1"]) == 1
    assert "mqe eval:" in capfd.readouterr().err


def test_a_report_holds_what_happened(reach, make_bundle, spec, tmp_path, capsys) -> None:
    policy = make_bundle(action=(0.012, 0, 0, 0, 0, 0, 1))
    arguments = [
        "eval",
        "--policy",
        str(policy),
        "--task",
        "reach",
        "--episodes",
        "5",
        "--seed",
        "3",
        "--out",
        str(tmp_path / "report"),
    ]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    result = json.loads((tmp_path / "report" / "result.json").read_text())
    assert result["mean_score_ci95"] == [2 * bound for bound in wilson_interval((3 * 2.0 + 2 * 0.5) / 2, 5)]
    with (tmp_path / "report" / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["scene_seed"]) for row in rows] == [FIRST_EVALUATION_SEED + 3 + i for i in range(5)]
    assert [row["success"] for row in rows] == ["1", "0", "1", "0", "1"] and {row["steps"] for row in rows} == {"8"}
    steps = (tmp_path / "report" / "steps_to_goal.csv").read_text().splitlines()
    assert len(steps) == 1 + 5 * 8 and steps[1] == f"{FIRST_EVALUATION_SEED + 3},0,0.00"  # frame and goal are the same
    assert read_image(tmp_path / "report" / "steps_to_goal.png").std() > 5
    frames = imageio_ffmpeg.read_frames(str(tmp_path / "report" / "rollouts.mp4"))
    info = next(frames)
    assert info["size"] == (4 * 2 * 8, 2 * 8) and info["fps"] == 10.0
    assert sum(1 for _ in frames) == 8 + 1
    assert all(str(path) in printed for path in (tmp_path / "report").iterdir())
