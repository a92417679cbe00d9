"""`mqe data import` and `mqe data info`, as a user calls them."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import numpy as np
import pytest

from mqe_core.commands import data
from mqe_core.data.store.episode_store import EpisodeStore


def _run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    data.add_arguments(parser)
    return data.run(parser.parse_args(list(map(str, arguments))))


@pytest.fixture
def tree(tmp_path, make_trajectory):
    """A raw tree with three trajectories, the second one broken."""
    root = tmp_path / "src/2023-01-01_00-00-00/raw/traj_group0"
    made = [make_trajectory(root / f"traj{i}", 6, seed=i, cameras=(0, 1), language="move it") for i in range(3)]
    (root / "traj1/obs_dict.pkl").unlink()
    return tmp_path / "src", made


def test_import_then_info(tree, tmp_path, capsys):
    source, made = tree
    assert _run("import", source, "--out", tmp_path / "store", "--image-size", 16) == 0
    printed = capsys.readouterr()
    assert "2 episodes, 12 frames" in printed.out and "traj1: obs_dict.pkl is missing" in printed.out
    assert "importing" in printed.err  # the progress bar
    assert _run("info", tmp_path / "store", "--json", "--verify") == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["episodes"], info["frames"], info["cameras"], info["image_size"]) == (2, 12, [0, 1], 16)
    assert info["format"] == "bridge-raw" and info["source"] == str(source)
    actions = np.concatenate([made[0].actions, made[2].actions])
    np.testing.assert_allclose(info["action_mean"], actions.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(info["action_std"], actions.std(axis=0), rtol=1e-5)
    assert [entry["reason"] for entry in info["skipped"]] == ["obs_dict.pkl is missing"]
    assert info["fingerprint"] == EpisodeStore.open(tmp_path / "store").fingerprint
    assert _run("info", tmp_path / "store") == 0
    assert "0 (2 episodes), 1 (2 episodes)\n  images       16 px square, squash-lanczos" in capsys.readouterr().out


@pytest.mark.parametrize(("recorded", "stored"), [((12, 16), 12), ((480, 640), 128)])
def test_the_default_size_is_128_and_enlarges_nothing(make_trajectory, tmp_path, caplog, recorded, stored):
    make_trajectory(tmp_path / "src/2023-01-01_00-00-00/raw/traj_group0/traj0", 3, size=recorded)
    _run("import", tmp_path / "src", "--out", tmp_path / "store", "--workers", 1)
    assert EpisodeStore.open(tmp_path / "store").image_size == stored
    assert "enlarged" not in caplog.text


def test_a_damaged_first_episode_does_not_decide_the_size(tree, tmp_path):
    first = tmp_path / "src/2023-01-01_00-00-00/raw/traj_group0/traj0"
    (first / "images0/im_0.jpg").write_bytes(b"no image")
    (first / "images1/im_0.jpg").unlink()
    _run("import", tree[0], "--out", tmp_path / "store")
    assert EpisodeStore.open(tmp_path / "store").image_size == 12


def test_enlarging_is_said_once(tree, tmp_path, caplog):
    _run("import", tree[0], "--out", tmp_path / "store", "--workers", 1, "--image-size", 128)
    said = [
        record.message for record in caplog.records if "smaller than image size 128 and are enlarged" in record.message
    ]
    assert len(said) == 1 and "without --image-size" in said[0]


def test_an_existing_store_is_kept_unless_forced(tree, tmp_path):
    arguments = ("import", tree[0], "--out", tmp_path / "store", "--image-size", 16)
    _run(*arguments)
    with pytest.raises(ValueError, match="already holds an EpisodeStore.*--force"):
        _run(*arguments)
    assert _run("import", tree[0], "--out", tmp_path / "store", "--image-size", 8, "--force") == 0
    assert EpisodeStore.open(tmp_path / "store").image_size == 8


@pytest.mark.parametrize("wrong", [("--image-size", 0), ("--workers", 0), ("--format", "rlds")])
def test_wrong_arguments_leave_nothing(tree, tmp_path, wrong):
    with pytest.raises(ValueError):
        _run("import", tree[0], "--out", tmp_path / "store", *wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


def test_the_data_code_loads_no_torch_no_ros_and_no_simulator():
    code = """
import sys
import mqe_core.commands.data, mqe_core.data.importer
print([name for name in ("torch", "rclpy", "pybullet", "tensorflow", "onnxruntime") if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "[]"


def test_merged_stores_hold_the_episodes_of_both(make_trajectory, tmp_path):
    for name in ("first", "second"):
        for number in range(2):
            folder = tmp_path / name / "kitchen" / name / "raw" / "traj_group0" / f"traj{number}"
            make_trajectory(folder, 4, seed=10 * len(name) + number, language=name)
        assert _run("import", tmp_path / name, "--out", tmp_path / f"{name}.store", "--image-size", 8) == 0
    assert _run("merge", tmp_path / "first.store", tmp_path / "second.store", "--out", tmp_path / "both") == 0
    parts = [EpisodeStore.open(tmp_path / f"{name}.store") for name in ("first", "second")]
    both = EpisodeStore.open(tmp_path / "both")
    assert both.names == parts[0].names + parts[1].names and both.languages == [["first"]] * 2 + [["second"]] * 2
    for key in ("states", "actions"):
        np.testing.assert_array_equal(getattr(both, key), np.concatenate([getattr(part, key) for part in parts]))
    np.testing.assert_array_equal(
        both.images(np.arange(16)), np.concatenate([part.images(np.arange(8)) for part in parts])
    )


def test_real_and_simulated_episodes_are_not_merged(tmp_path):
    from mqe_core.data.episode import Episode
    from mqe_core.data.store.episode_writer import EpisodeWriter

    for domain in ("real", "sim"):
        with EpisodeWriter(tmp_path / domain, image_size=8, domain=domain) as writer:
            writer.add(Episode(domain, np.zeros((3, 7)), np.zeros((2, 7))))
    with pytest.raises(ValueError, match="domain sim.* has real"):
        _run("merge", tmp_path / "real", tmp_path / "sim", "--out", tmp_path / "both")


def test_stores_that_differ_are_not_merged(make_trajectory, tmp_path):
    make_trajectory(tmp_path / "tree" / "raw" / "traj_group0" / "traj0", 4)
    for size in (8, 12):
        assert _run("import", tmp_path / "tree", "--out", tmp_path / f"store{size}", "--image-size", size) == 0
    with pytest.raises(ValueError, match="image_size 12.* has 8"):
        _run("merge", tmp_path / "store8", tmp_path / "store12", "--out", tmp_path / "both")
    with pytest.raises(ValueError, match="both hold an episode"):
        _run("merge", tmp_path / "store8", tmp_path / "store8", "--out", tmp_path / "both")
    assert not (tmp_path / "both").exists()
