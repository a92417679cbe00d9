"""`mqe run` drives the mock and the sim without ROS, and refuses images of another domain."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from mqe_core.cli import main
from mqe_core.closed_loop.rigs import RIGS, check_arguments
from mqe_core.closed_loop.stored_camera import episode_frames
from mqe_core.commands.run import add_arguments
from mqe_core.images import encode_png
from mqe_core.runtime.bridge.bridge_server import CAMERA_TOPIC, PORT


def write_goal(folder: Path, domain: str, **keys) -> Path:
    meaning = {
        "camera": "over_shoulder",
        "resize_rule": "squash-lanczos",
        "domain": domain,
        "capture_pose": [0.2, 0, 0.2, 0, 0, 0, 1.0],
        **keys,
    }
    path = folder / f"{domain}.png"
    path.write_bytes(encode_png(np.random.default_rng(0).integers(60, 120, (48, 64, 3), dtype=np.uint8)))
    path.with_suffix(".yaml").write_text(yaml.safe_dump(meaning), encoding="utf-8")
    return path


def test_the_mock_runs_at_the_control_rate_and_records(make_bundle, synthetic_store, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    policy = make_bundle(action=(0.004, 0, 0, 0, 0, 0, 1))
    arguments = [
        "run",
        "--backend",
        "mock",
        "--policy",
        str(policy),
        "--episodes",
        str(synthetic_store),
        "--seconds",
        "2",
        "--out",
        str(out),
    ]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 3 and "steps to goal" in lines[0]  # a line per second and the summary
    assert lines[-1].startswith("mock, episode 0: 10 steps")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["steps"] == 10 and summary["kept_because"] == {} and summary["score"] is None
    rows = list(csv.DictReader((out / "steps.csv").open()))
    assert len(rows) == 10 and rows[0]["kept_because"] == ""
    advance = float(rows[9]["target_x"]) - float(rows[0]["target_x"])
    assert advance == pytest.approx(9 * float(rows[0]["action_dx"]), abs=1e-3)
    assert len(list((out / "frames").glob("*.jpg"))) == 10 and (out / "goal.png").is_file()
    assert main(arguments) == 1 and "already holds something" in capsys.readouterr().err


def test_the_sim_runs_against_the_wall_clock_and_is_scored(make_bundle, capsys) -> None:
    pytest.importorskip("pybullet")
    assert main(["run", "--policy", str(make_bundle()), "--task", "place1", "--seed", "3", "--seconds", "1"]) == 0
    assert "place1 seed 3: 5 steps" in (out := capsys.readouterr().out) and "score 0 of 1" in out


def test_a_goal_sets_the_scene_and_must_not_contradict_it(make_bundle, tmp_path, capsys) -> None:
    pytest.importorskip("pybullet")
    goal, policy = write_goal(tmp_path, "sim", task="place1", seed=6), str(make_bundle())
    assert main(["run", "--policy", policy, "--goal", str(goal), "--seconds", "0.4"]) == 0
    assert "place1 seed 6" in capsys.readouterr().out
    assert main(["run", "--policy", policy, "--goal", str(goal), "--seed", "7"]) == 1
    assert "shows the scene with seed 6, not 7" in capsys.readouterr().err


@pytest.mark.parametrize("backend", ["sim", "mock"])
def test_a_goal_of_another_domain_is_refused(make_bundle, synthetic_store, tmp_path, capsys, backend: str) -> None:
    goal = write_goal(tmp_path, "real")
    store = ["--episodes", str(synthetic_store)] if backend == "mock" else []
    assert main(["run", "--backend", backend, "--policy", str(make_bundle()), "--goal", str(goal), *store]) == 1
    assert "shows real images, but the policy was trained on sim images" in capsys.readouterr().err


def test_a_camera_of_another_domain_is_refused(make_bundle, synthetic_store, capsys) -> None:
    policy = str(make_bundle(domain="real"))
    assert main(["run", "--backend", "mock", "--policy", policy, "--episodes", str(synthetic_store)]) == 1
    assert "camera of the backend mock shows sim images" in capsys.readouterr().err
    # Frames that are said to be real are another matter.
    assert (
        main(
            [
                "run",
                "--backend",
                "mock",
                "--policy",
                policy,
                "--episodes",
                str(synthetic_store),
                "--domain",
                "real",
                "--seconds",
                "0.2",
            ]
        )
        == 0
    )
    assert episode_frames(synthetic_store, 0).shape[0] == 12


def test_the_mock_shows_the_goal_itself_where_there_are_no_episodes(make_bundle, tmp_path, capsys) -> None:
    goal = write_goal(tmp_path, "sim", task="place1", seed=6)
    assert (
        main(
            [
                "run",
                "--backend",
                "mock",
                "--policy",
                str(make_bundle()),
                "--goal",
                str(goal),
                "--seconds",
                "0.6",
            ]
        )
        == 0
    )
    assert "still picture of sim: 3 steps" in (out := capsys.readouterr().out) and "steps to goal 0.0 -> 0.0" in out


def test_arguments_that_say_nothing_are_refused(make_bundle, tmp_path, capsys) -> None:
    policy, goal = str(make_bundle()), write_goal(tmp_path, "sim", task="place1", seed=6)
    for arguments, reason in (
        (["--backend", "mock"], "--episodes"),
        (["--backend", "mock", "--goal", str(goal), "--episode", "1"], "--episodes STORE, which is missing"),
        (["--backend", "mock", "--goal", str(goal), "--domain", "real"], "--episodes STORE, which is missing"),
        (["--backend", "sim", "--seconds", "0"], "--seconds"),
    ):
        assert main(["run", "--policy", policy, *arguments]) == 1
        assert reason in capsys.readouterr().err


def test_arguments_of_another_backend_are_refused_by_every_one() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert str(PORT) in (text := parser.format_help()) and CAMERA_TOPIC in text
    for group in parser._action_groups:
        for action in group._group_actions if group.title in RIGS else ():
            value = {int: "1", float: "0"}.get(action.type, "sim")
            given = ["--policy", "p", action.option_strings[0], value]
            for backend in RIGS:
                args = parser.parse_args([*given, "--backend", backend])
                if backend == group.title:
                    check_arguments(args)
                else:
                    with pytest.raises(
                        ValueError, match=f"{action.option_strings[0]} belongs to --backend {group.title}"
                    ):
                        check_arguments(args)
    check_arguments(parser.parse_args(["--policy", "p"]))
