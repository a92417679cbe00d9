"""The package itself: its environments, the colossal mazes, and data made in it and read by its loader."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from mqe_core.ogbench.dataset import OgbenchDataset
from mqe_core.ogbench.environments import Widths, make_environment, widths_of
from mqe_core.ogbench.evaluation import Evaluator
from mqe_core.ogbench.generate import generate, recipe
from mqe_core.ogbench.mazes import Maze
from mqe_core.ogbench.names import INSTALL, parse_name

with_package = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import ogbench"], capture_output=True).returncode != 0, reason=INSTALL
)


@with_package
@pytest.mark.parametrize(
    ("name", "widths"),
    [("pointmaze-colossal-stitch-v0", Widths(2, 2)), ("antmaze-colossal-navigate-v0", Widths(29, 8))],
)
def test_the_colossal_mazes_are_environments_of_their_own(name: str, widths: Widths) -> None:
    environment = make_environment(parse_name(name))
    assert widths_of(environment) == widths and environment.spec.max_episode_steps == 4000
    inner = environment.unwrapped
    assert inner.maze_map.shape == (18, 24) and inner.num_tasks == 5
    np.random.seed(0)
    for task in range(1, 6):
        observation, info = environment.reset(options={"task_id": task})
        for at, cell in ((observation, inner.cur_task_info["init_ij"]), (info["goal"], inner.cur_task_info["goal_ij"])):
            assert np.abs(at[:2] - Maze.of_environment(environment).position(cell)).max() <= 1.0 + 1e-6
    walls = sum(inner.model.geom(index).name.startswith("block_") for index in range(inner.model.ngeom))
    assert walls == 18 * 24 - 202


@with_package
def test_making_mazes_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_environment(parse_name("pointmaze-medium-stitch-v0"))  # what is opened once, and stays
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened = set(os.listdir("/proc/self/fd"))
    kept = [make_environment(parse_name(f"pointmaze-{maze}-stitch-v0")) for maze in ("medium", "colossal") * 2]
    # Fewer may be open by now, where the collector came to what another test left.
    assert set(os.listdir("/proc/self/fd")) <= opened and not list(tmp_path.iterdir())
    assert all(environment.reset()[0].shape == (2,) for environment in kept)


@with_package
def test_the_expert_solves_its_mazes_tasks() -> None:
    """Two episodes of each task of the medium maze, by the shortest way: what evaluation calls success."""
    from mqe_core.ogbench.maze_expert import Expert

    evaluate = Evaluator(parse_name("pointmaze-medium-navigate-v0"), episodes=2)
    maze = Maze.of_environment(evaluate.first_environment)
    expert = Expert(maze)

    def towards(at, goal):
        return goal - at if maze.cell_at(at) == maze.cell_at(goal) else expert.direction(at, goal)

    def act(observations, goals):
        return np.stack([towards(at, goal) for at, goal in zip(observations, goals)])

    assert all(outcome.success.all() and outcome.steps.max() < 1000 for outcome in evaluate(act))


@with_package
def test_what_is_made_is_read_by_the_packages_loader(tmp_path: Path) -> None:
    import ogbench

    name = parse_name("pointmaze-medium-stitch-v0")
    for folder in ("a", "b"):
        train, validation = generate(name, tmp_path / folder, seed=7, episodes=12, progress=False)
    _, theirs, val = ogbench.make_env_and_datasets(name.text, dataset_path=str(train), compact_dataset=True)
    ours = OgbenchDataset.open(train)
    np.testing.assert_array_equal(theirs["observations"], ours.states)
    np.testing.assert_array_equal(theirs["valids"] == 1, ours.valid)
    assert ours.num_episodes == 12 and ours.num_frames == 12 * 201 and len(val["actions"]) == 201
    for first, second in ((train, tmp_path / "a" / train.name), (validation, tmp_path / "a" / validation.name)):
        assert first.read_bytes() == second.read_bytes()  # one seed, one file
    # An action of +-1 moves 0.2 m, but for walls; the next row is where it led.
    moved = np.diff(ours.states, axis=0)[ours.valid[:-1]]
    assert np.abs(moved).max() < 0.25
    free = np.abs(moved - 0.2 * ours.actions[:-1][ours.valid[:-1]]).max(1) < 1e-3
    assert free.mean() > 0.9
    with pytest.raises(ValueError, match="exists already"):
        generate(name, tmp_path / "b", episodes=1, progress=False)


@with_package
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cube-single-noisy", "scene-play", "puzzle-3x3-play"])
def test_tables_are_played_with(tmp_path: Path, kind: str) -> None:
    train, _ = generate(parse_name(f"{kind}-v0"), tmp_path, episodes=1, progress=False)
    dataset, arrays = OgbenchDataset.open(train), np.load(train)
    assert dataset.num_frames == 1001 and np.abs(dataset.actions).max() <= 1.0
    assert ("button_states" in arrays) == (kind[:4] != "cube")
    assert arrays["qpos"].std(0).max() > 0.05  # something is moved


@pytest.mark.parametrize("name", ["antmaze-giant-stitch-v0", "humanoidmaze-giant-navigate-v0", "pointmaze-medium-x-v0"])
def test_what_needs_a_trained_expert_is_not_made(name: str) -> None:
    with pytest.raises(ValueError, match="trained expert|no data set"):
        recipe(parse_name(name))


def test_a_missing_package_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ogbench", None)
    with pytest.raises(ValueError, match=INSTALL):
        make_environment(parse_name("pointmaze-medium-stitch-v0"))
    with pytest.raises(ValueError, match=INSTALL):
        generate(parse_name("pointmaze-medium-stitch-v0"), tmp_path, episodes=1, progress=False)
