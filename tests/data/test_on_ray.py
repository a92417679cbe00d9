"""`mqe data import … --ray` on a cluster of two workers of this machine. Without ray: see test_in_shards.py."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from mqe_core.cli import main
from mqe_core.data.store.episode_store import EpisodeStore
from tests.data.restarted import EPISODES, make_tree

ray = pytest.importorskip("ray", reason="ray is not installed (requirements/ray.txt)")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    root = Path(__file__).parents[2]
    patch.setenv("PYTHONPATH", f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    made = importlib.import_module("ray.cluster_utils").Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    made.shutdown()
    patch.undo()


@pytest.fixture
def source(tmp_path, make_trajectory) -> Path:
    return make_tree(tmp_path, make_trajectory)


def _import(source: Path, out: Path, *options: str) -> int:
    return main(["data", "import", str(source), "--out", str(out), "--image-size", "8", "--trust-units", *options])


def test_one_command_is_both_shards_and_their_merge(cluster, source, tmp_path) -> None:
    assert _import(source, tmp_path / "store", "--ray", cluster.address) == 0
    for number in (1, 2):
        assert _import(source, tmp_path / f"part{number}", "--shard", f"{number}/2") == 0
    parts = [str(tmp_path / f"part{number}") for number in (1, 2)]
    assert main(["data", "merge", *parts, "--out", str(tmp_path / "merged")]) == 0
    store, merged = (EpisodeStore.open(tmp_path / name) for name in ("store", "merged"))
    assert store.fingerprint == merged.fingerprint and store.num_episodes >= EPISODES - 2
    store.verify()
    assert not list(tmp_path.glob(".store*"))


def test_a_failing_shard_names_itself_and_the_other_is_kept(cluster, source, tmp_path, capsys) -> None:
    for number in (0, 4):  # of the first shard
        for file in (source / f"2023-01-01_00-00-00/raw/traj_group0/traj{number}").rglob("im_1.jpg"):
            file.unlink()
    out = tmp_path / "store"
    command = ["data", "import", str(source), "--out", str(out), "--image-size", "8", "--ray", cluster.address]
    units = ["--units=state:mm", "--gripper=action:0..0.001"]
    assert main([*command, *units]) == 1
    assert "of 2: the numbers are not in a store's units" in capsys.readouterr().err
    assert not out.exists()
    assert main([*command, "--trust-units"]) == 0


def test_a_cluster_that_is_not_there_is_told(source, tmp_path, capsys) -> None:
    assert _import(source, tmp_path / "store", "--ray", "127.0.0.1:1") == 1
    assert "no Ray cluster answers at 127.0.0.1:1" in capsys.readouterr().err
