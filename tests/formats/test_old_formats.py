"""What an earlier version wrote still opens, with what it held then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mqe_core.cli import main
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.run.run_folder import load_run
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.goals import read_goal
from mqe_core.runtime.onnx_policy import OnnxPolicy

HERE = Path(__file__).parent
VERSIONS = sorted(path.name for path in HERE.glob("v*") if path.is_dir())


@pytest.fixture(params=VERSIONS)
def files(request: pytest.FixtureRequest) -> Path:
    """The folder of one version."""
    return HERE / request.param


def test_the_store_opens(files: Path) -> None:
    store = EpisodeStore.open(files / "store")
    assert (store.num_episodes, store.num_frames, store.cameras) == (3, 38, (0,))
    assert store.metadata["fingerprint"].startswith("136d283b1377")
    assert store.images(np.arange(38), camera=0).shape == (38, 16, 16, 3)
    assert np.isfinite(store.actions[store.valid]).all()


def test_the_run_folder_opens(files: Path) -> None:
    agent, config, metadata = load_run(files / "run")
    assert (config.train.agent, metadata["step"], agent.discount) == ("mqe", 4, 0.995)


def test_the_run_folder_exports(files: Path, tmp_path: Path) -> None:
    data = ["--data", str(files / "store")]
    assert main(["export", str(files / "run"), "--out", str(tmp_path / "policy.onnx"), *data]) == 0


def test_the_bundle_opens(files: Path, spec) -> None:
    contract = PolicyBundle.open(files / "policy.onnx", spec).contract
    assert (contract.agent, contract.domain, contract.image_size) == ("mqe", "sim", 16)


def test_the_bundle_runs(files: Path, spec) -> None:
    """A policy of one answer, to whom what was chosen last is nothing."""
    policy = OnnxPolicy(PolicyBundle.open(files / "policy.onnx", spec))
    goal = read_goal(files / "goal.png").image
    output, again = policy.act(goal, goal), policy.act(goal, goal, last=3)
    assert policy.bundle.schema == 1 and not policy.contract.chooses and output.candidates is None
    assert np.isfinite(output.action).all() and output.steps_to_goal == pytest.approx(0.0, abs=1e-3)
    np.testing.assert_array_equal(output.action, again.action)


def test_the_goal_opens(files: Path) -> None:
    goal = read_goal(files / "goal.png")
    assert (goal.task, goal.seed, goal.domain) == ("reach", 1000003, "sim")


def test_the_bag_opens(files: Path, tmp_path: Path) -> None:
    assert main(["data", "import", str(files / "bag"), "--out", str(tmp_path / "store"), "--image-size", "16"]) == 0
    store = EpisodeStore.open(tmp_path / "store")
    assert store.num_episodes == 1 and store.num_frames > 30
