"""Promise: the examples of docs/extending.md work, and the page shows exactly what runs here.

The examples lie in docs/examples. The arm passes the contract of every backend, the agent trains and becomes a
bundle, the reader's episodes reach a store, and the script of the task solves it.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.backends import make_robot
from tests.runtime.robot_contract import Rig, RobotContract

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"


class SteppedClock:
    """Time passes only where something sleeps."""

    def __init__(self) -> None:
        self._now = 100.0

    def now(self) -> float:
        return self._now

    def sleep_until(self, t: float) -> None:
        self._now = max(self._now, t)


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples can be imported."""
    monkeypatch.syspath_prepend(EXAMPLES)


@pytest.fixture
def installed(examples: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The package of docs/examples/pyproject.toml, as an installer would leave it."""
    text = (EXAMPLES / "pyproject.toml").read_text(encoding="utf-8")
    points = re.search(r'\[project\.entry-points\."(?P<group>[\w.]+)"\]\n(?P<name>\w+) = "(?P<value>[\w:]+)"', text)
    about = tmp_path / "my_lab-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-lab\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text(f"[{points['group']}]\n{points['name']} = {points['value']}\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_the_page_shows_the_examples() -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    blocks = [body for _, body in re.findall(r"```(python|toml)\n(.*?)```", page, flags=re.DOTALL)]
    for path in sorted(EXAMPLES.iterdir()):
        if path.suffix in (".py", ".toml"):
            assert path.read_text(encoding="utf-8") in blocks, f"docs/extending.md shows another {path.name}"


class TestRobot(RobotContract):
    """The example's arm, found by its entry point, behind the safety filter."""

    @pytest.fixture
    def rig(self, installed: None, spec: RobotSpec) -> Iterator[Rig]:
        clock = SteppedClock()
        assert "my_arm" in {entry.name for entry in entry_points(group="mqe.robots")}
        robot = make_robot("my_arm", spec, clock=clock)
        yield Rig(robot, clock, spec)
        robot.close()


def test_reader(
    examples: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mqe_core.cli import main
    from mqe_core.data.importer import FORMATS, Format
    from mqe_core.data.store.episode_store import EpisodeStore

    rng = np.random.default_rng(0)
    (tmp_path / "recorded").mkdir()
    for k in range(2):
        np.savez(
            tmp_path / "recorded" / f"episode{k}.npz",
            states=rng.normal(0.2, 0.01, (6, 7)),
            actions=rng.normal(0.0, 0.01, (5, 7)),
            images=rng.integers(0, 256, (6, 24, 32, 3), dtype=np.uint8),
            language="lift the cup",
        )
    np.savez(tmp_path / "recorded" / "episode2.npz", states=np.zeros((6, 7)))
    monkeypatch.setitem(FORMATS, "npz", Format(importlib.import_module("my_reader").NpzSource, "*.npz files"))
    assert main(["data", "import", str(tmp_path / "recorded"), "--out", str(tmp_path / "store")]) == 0
    assert "episode2: lacks actions, images" in capsys.readouterr().out
    store = EpisodeStore.open(tmp_path / "store")
    assert (store.num_episodes, store.num_frames, store.metadata["format"]) == (2, 12, "npz")
    assert store.languages[0] == ["lift the cup"]


WITH_THE_AGENT = """
import sys
from mqe_core.learning.agents import AGENTS
from my_agent import NearCloningAgent, NearCloningConfig
AGENTS["near_cloning"] = NearCloningAgent, NearCloningConfig
from mqe_core.cli import main
sys.exit(main(sys.argv[1:]))
"""


def mqe(folder: Path, *words: str) -> None:
    """`mqe` in a process of its own, so that no other test has read the table of agents before."""
    done = subprocess.run(
        [sys.executable, "-c", WITH_THE_AGENT, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr


def train(store: Path, folder: Path) -> None:
    own = ("--agent", "near_cloning", "--set", "goal_discount=0.9")
    small = ("--set", "encoder=strided_small", "--set", "hidden_dims=[32]", "--batch-size", "8", "--steps", "3")
    mqe(folder, "train", "--data", str(store), "--out", "run", *own, *small)


def test_agent(synthetic_store: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    train(synthetic_store, tmp_path)
    assert "goal_discount: 0.9" in (tmp_path / "run" / "config.yaml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_agent_becomes_a_bundle(synthetic_store: Path, spec: RobotSpec, tmp_path: Path) -> None:
    from mqe_core.policy.bundle import PolicyBundle

    pytest.importorskip("torch")
    train(synthetic_store, tmp_path)
    mqe(tmp_path, "export", "run", "--out", "policy.onnx")
    contract = PolicyBundle.open(tmp_path / "policy.onnx", spec).contract
    assert (contract.agent, contract.discount) == ("near_cloning", None)


def test_task(examples: None, monkeypatch: pytest.MonkeyPatch, spec: RobotSpec, tmp_path: Path) -> None:
    pytest.importorskip("pybullet")
    from mqe_sim import oracles, tasks
    from mqe_sim.demonstration import run_oracle
    from mqe_sim.goal_file import write_goal
    from mqe_sim.world import World

    example = importlib.import_module("my_task")
    monkeypatch.setitem(tasks.TASKS, "hover", example.HoverTask)
    monkeypatch.setitem(tasks.STAGES, "hover", 1)
    monkeypatch.setitem(oracles._PLANNERS, example.HoverTask, example.plan)
    world = World(spec)
    for seed in range(2):
        task = tasks.make_task("hover", world, seed)
        assert task.score() == 0.0
        task.solve()
        assert task.score() == task.max_score
    scores = [run_oracle(world, "hover", seed, size=None).outcome.score for seed in range(5)]
    world.close()
    assert scores == [1.0] * 5
    write_goal("widowx250s", "hover", 3, tmp_path / "goal.png")
    assert (tmp_path / "goal.yaml").read_text(encoding="utf-8").count("hover") == 1
