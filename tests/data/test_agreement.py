"""Promise: what a source says twice is compared: which way its gripper goes, and how fast its frames follow."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from mqe_core.cli import main
from mqe_core.data.agreement import why_another_rate, why_grippers_disagree
from mqe_core.data.importer import open_source
from mqe_core.data.readers.lerobot_layout import why_other_columns
from mqe_core.data.source import EpisodeTask
from mqe_core.data.store.episode_store import EpisodeStore

DAY = "2023-01-01_00-00-00"
SAMPLES = Path(__file__).parents[3] / "shared/data"


def _edit(file: Path, change) -> None:
    content = pickle.loads(file.read_bytes())
    change(content)
    file.write_bytes(pickle.dumps(content))


@pytest.fixture
def grasps(tmp_path, make_trajectory) -> list[Path]:
    """Four trajectories of 20 frames in which the gripper follows its action."""
    folders = []
    for number in range(4):
        made = make_trajectory(tmp_path / "src" / DAY / f"raw/traj_group0/traj{number}", 20, seed=number)
        wanted = np.where(np.arange(19) // 5 % 2, 0.1, 0.9)

        def act(outputs, wanted=wanted):
            for output, gripper in zip(outputs, wanted):
                output["actions"][6] = gripper

        def follow(observations, wanted=wanted):
            observations["full_state"][1:, 6] = 0.2 + 0.7 * wanted

        _edit(made.folder / "policy_out.pkl", act)
        _edit(made.folder / "obs_dict.pkl", follow)
        folders.append(made.folder)
    return folders


def _import(tmp_path: Path, *options: str) -> int:
    return main(["data", "import", str(tmp_path / "src"), "--out", str(tmp_path / "store"), *options])


def test_a_gripper_whose_state_is_upside_down_is_refused_with_the_option(grasps, tmp_path, capsys) -> None:
    for folder in grasps:
        _edit(
            folder / "obs_dict.pkl",
            lambda content: content["full_state"].__setitem__((slice(None), 6), 1 - content["full_state"][:, 6]),
        )
    assert _import(tmp_path) == 1
    said = capsys.readouterr().err
    assert "its state goes down where its action goes up (correlation -1.00)" in said
    assert _import(tmp_path, "--gripper=state:1..0") == 0
    store = EpisodeStore.open(tmp_path / "store")
    assert np.corrcoef(store.states[1:][store.valid[:-1], 6], store.actions[:-1][store.valid[:-1], 6])[0, 1] > 0.9


def test_a_gripper_that_follows_its_action_passes(grasps, tmp_path) -> None:
    assert _import(tmp_path) == 0


@pytest.mark.parametrize("factor", [0.1, 0.5, 0.65, 1.6, 10.0])
def test_another_rate_than_the_formats_is_refused(grasps, tmp_path, capsys, factor) -> None:
    for folder in grasps:
        _edit(
            folder / "obs_dict.pkl",
            lambda content: content.update(time_stamp=[1.7e9 + 0.2 * factor * t for t in range(20)]),
        )
    assert _import(tmp_path) == 1
    assert f"frames are {0.2 * factor:.3g} s apart, those of this format 0.2 s" in capsys.readouterr().err
    assert _import(tmp_path, "--trust-units") == 0


@pytest.mark.parametrize(
    "stamps",
    [None, [0.0] * 20, list(range(20, 0, -1)), ["now"] * 20, [[0.2]] * 20, [float("nan")] * 20, 3.0]
    + [[1.7e9 + 0.2 * t + 0.05 * (t % 3) for t in range(20)]],
    ids=["none", "still", "backwards", "words", "a table", "NaN", "one number", "jitter"],
)
def test_stamps_that_say_no_rate_are_not_judged(grasps, tmp_path, stamps) -> None:
    """A driver that does not stamp, a clock that was set back: the frames are as far apart as the format says."""
    for folder in grasps:
        _edit(folder / "obs_dict.pkl", lambda content: content.update(time_stamp=stamps))
    assert _import(tmp_path) == 0


def test_few_actions_and_still_grippers_are_not_judged() -> None:
    rng = np.random.default_rng(0)
    upside_down = [rng.uniform(size=(20, 7)).astype(np.float32) for _ in range(2)]
    actions = [1 - states[1:] for states in upside_down]
    assert why_grippers_disagree(upside_down, actions) == []
    assert len(why_grippers_disagree(upside_down * 2, actions * 2)) == 1
    assert why_grippers_disagree([np.ones((100, 7), np.float32)], [rng.uniform(size=(99, 7)).astype(np.float32)]) == []
    hardly_moving = [1 - 0.1 * (1 - states) for states in upside_down * 2]
    assert why_grippers_disagree(hardly_moving, actions * 2) == []
    assert why_another_rate([], 0.2) == []


@pytest.mark.parametrize("sample", ["bridge_rlds_sample", "bridge_lerobot_v3"])
def test_the_grippers_of_real_data_agree(sample: str) -> None:
    if not (SAMPLES / sample).exists():
        pytest.skip(f"the sample {sample} is not beside the checkout")
    if sample == "bridge_lerobot_v3":
        pytest.importorskip("av")
    episodes = [task.load() for task in open_source(SAMPLES / sample).tasks() if isinstance(task, EpisodeTask)]
    after = np.concatenate([np.asarray(episode.states)[1:, 6] for episode in episodes])
    asked = np.concatenate([np.asarray(episode.actions)[:, 6] for episode in episodes])
    assert np.corrcoef(after, asked)[0, 1] > 0.7


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper"], "joints"),
        ({"motors": [f"joint_{number}" for number in range(7)]}, "joints"),
        (["x", "y", "z", "qx", "qy", "qz", "qw", "gripper"], "a quaternion"),
        (["gripper", "x", "y", "z", "roll", "pitch", "yaw"], "another order"),
        (["x", "y", "z", "yaw", "pitch", "roll", "gripper"], "another order"),
        (["delta_z", "delta_y", "delta_x", "roll", "pitch", "yaw", "gripper"], "another order"),
        (["x", "y", "z", "roll", "pitch", "yaw", "gripper"], ""),
        ({"motors": ["x", "y", "z", "roll", "pitch", "yaw", "pad", "gripper"]}, ""),
        (["x", "y", "z", "R", "P", "Y", "g"], ""),
        (["ee.delta_x", "ee.delta_y", "ee.delta_z", "droll", "dpitch", "dyaw", "ee.gripper"], ""),
        ([f"motor_{number}" for number in range(7)], ""),
        (None, ""),
        ([1, 2], ""),
    ],
)
def test_columns_of_other_names_are_refused(names, why) -> None:
    assert why_other_columns(names).partition(": ")[2].startswith(why) and bool(why) == bool(why_other_columns(names))


def test_a_lerobot_set_of_joints_is_refused(tmp_path, capsys) -> None:
    pytest.importorskip("pyarrow")
    shutil.copytree(Path(__file__).parent / "fixtures/lerobot_v21", tmp_path / "src")
    file = tmp_path / "src/meta/info.json"
    info = json.loads(file.read_text())
    info["features"]["observation.state"]["names"] = ["waist", "shoulder", "elbow", "a", "b", "c", "gripper"]
    file.write_text(json.dumps(info))
    assert _import(tmp_path) == 1
    assert "observation.state has the columns" in capsys.readouterr().err
