"""Promise: data in other widths or units than a store's is refused at its import, with the column, its figures and the
option that converts it; real data passes without options.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mqe_core.commands import data
from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.units import (
    ACTION_NAMES,
    STATE_NAMES,
    Conversion,
    check_step_limits,
    judge_quantiles,
    seven_columns,
    why_implausible,
)
from mqe_core.robot.geometry import (
    apply_action,
    euler_to_rotation,
    pose_to_state,
    rotation_to_euler,
    state_to_pose,
)
from mqe_core.robot.spec import RobotSpec
from tests.data.written_shards import SHARD, import_shards, write_shard

LEROBOT = Path(__file__).parents[2] / "../shared/data/bridge_lerobot_v3"

# The whole of BridgeData V2, 1 % and 99 % of each column: of 60,064 trajectories (states; actions as steps).
STATE_Q01 = [0.171, -0.170, -0.055, -0.367, -0.544, -1.354, 0.052]
STATE_Q99 = [0.453, 0.235, 0.195, 0.381, 0.279, 1.841, 1.011]
ACTION_Q01 = [-0.02873, -0.04170, -0.02609, -0.0809, -0.0929, -0.2072, 0.0]
ACTION_Q99 = [0.02831, 0.04086, 0.04016, 0.0819, 0.0779, 0.2038, 1.0]
FULL = {"state": np.array([STATE_Q01, STATE_Q99]), "action": np.array([ACTION_Q01, ACTION_Q99])}


def test_the_full_data_set_passes(spec: RobotSpec) -> None:
    assert judge_quantiles(FULL, spec) == []


@pytest.mark.skipif(not LEROBOT.is_dir(), reason=f"no LeRobot sample at {LEROBOT}")
def test_the_lerobot_sample_passes(spec: RobotSpec) -> None:
    """Even its extremes do. (That of RLDS is imported in test_bridge_sample.py.)"""
    stats = json.loads((LEROBOT / "meta/stats.json").read_text(encoding="utf-8"))
    found = {
        table: np.array([stats[key]["min"], stats[key]["max"]])
        for table, key in (("state", "observation.state"), ("action", "action"))
    }
    assert judge_quantiles(found, spec) == []


def _linear(table: str, columns: slice | int, factor: float, offset: float = 0.0) -> Callable[[dict], None]:
    def change(quantiles: dict[str, np.ndarray]) -> None:
        quantiles[table][:, columns] = quantiles[table][:, columns] * factor + offset

    return change


def _absolute(quantiles: dict[str, np.ndarray]) -> None:
    quantiles["action"][:, :6] = quantiles["state"][:, :6]


@pytest.mark.parametrize(
    ("change", "column", "remedy"),
    [
        (_linear("state", 6, 2.0, -1.0), "state gripper", "--gripper=state:-1..1"),
        (_linear("action", 6, 2.0, -1.0), "action gripper", "--gripper=action:-1..1"),
        (_linear("state", 6, 255.0), "state gripper", "--gripper=state:0..255"),
        (_linear("action", 6, 255.0), "action gripper", "--gripper=action:0..255"),
        (_linear("action", 6, 100.0), "action gripper", "--gripper=action:0..100"),
        (_linear("action", 6, 1000.0), "action gripper", "--gripper=action:0..1000"),
        (_linear("state", 6, 0.025, 0.010), "state gripper", "--gripper=state:0.010..0.035"),
        (_linear("action", 6, 0.025, 0.010), "action gripper", "--gripper=action:0.010..0.035"),
        (_linear("state", slice(0, 3), 1000.0), "state x", "--units=state:mm"),
        (_linear("state", slice(0, 3), 100.0), "state y", "--units=state:cm"),
        (_linear("action", slice(0, 3), 1000.0), "action dz", "--units=action:mm"),
        (_linear("action", slice(0, 3), 100.0), "action dx", "--units=action:cm"),
        (_linear("state", slice(3, 6), 180 / np.pi), "state yaw", "--units=state:deg"),
        (_linear("action", slice(3, 6), 180 / np.pi), "action droll", "--units=action:deg"),
        (_absolute, "action dx", "--actions=absolute"),
        (_linear("state", 4, 1.0, np.pi / 2), "state pitch", "--pitch-offset=90"),
        (_linear("state", 4, 1.0, -np.pi / 2), "state pitch", "--pitch-offset=-90"),
        (_linear("state", slice(0, 3), 1.0, 1.0), "state x", None),  # the frame of a room
        (_linear("action", slice(0, 6), 25.0), "action dyaw", None),  # normalised to -1 … 1
    ],
)
def test_other_units_are_named_with_column_figure_and_remedy(
    spec: RobotSpec, change: Callable[[dict], None], column: str, remedy: str | None
) -> None:
    quantiles = {table: values.copy() for table, values in FULL.items()}
    change(quantiles)
    found = judge_quantiles(quantiles, spec)
    (about,) = [line for line in found if line.startswith(f"{column}: ")]
    table, name = column.split()
    names = {"state": STATE_NAMES, "action": ACTION_NAMES}[table]
    low, high = quantiles[table][:, names.index(name)]
    assert f"are {low:.4g} and {high:.4g}" in about
    assert remedy is None or f"({remedy} converts them)" in about


def test_a_tool_seen_in_another_convention_is_told(spec: RobotSpec) -> None:
    """A rotation that forgets the 90 degrees folds at the pole, so all its values stay within a pitch's."""
    rng = np.random.default_rng(0)
    states = np.array([0.3, 0.0, 0.1, 0.0, 0.0, 0.0, 0.5]) + rng.normal(0, 0.1, (400, 7))
    assert why_implausible(states, np.zeros((400, 7)), spec) == []
    for row in states:
        row[3:6] = rotation_to_euler(state_to_pose(row)[:3, :3])
    (told,) = why_implausible(states, np.zeros((400, 7)), spec)
    assert told.startswith("state pitch: ") and "never near 0" in told
    assert "(--tool-turn=90, or --pitch-offset=90 where that was added, converts them)" in told


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("degrees", [90.0, -90.0])
def test_a_pitch_that_is_off_is_converted(spec: RobotSpec, degrees: float, absolute: bool) -> None:
    """Both ways in which it comes about; the steps of a pose stay what they are."""
    rng = np.random.default_rng(1)
    states = np.array([0.3, 0.0, 0.1, 0.0, 0.0, 0.0, 0.5]) + rng.normal(0, 0.1, (50, 7))
    actions = states[1:] if absolute else rng.normal(0, 0.02, (49, 7))
    right = Conversion(absolute=absolute)(Episode("right", states, actions, {}))
    turn = euler_to_rotation(np.array([0.0, np.deg2rad(degrees), 0.0]))

    def added(values: np.ndarray) -> np.ndarray:
        return values + np.deg2rad(degrees) * np.eye(7)[4]

    def turned(values: np.ndarray) -> np.ndarray:
        angles = [rotation_to_euler(euler_to_rotation(row[3:6]) @ turn) for row in values]
        return np.column_stack([values[:, :3], angles, values[:, 6:]])

    for change, option in ((added, {"pitch_offset_deg": degrees}), (turned, {"tool_turn_deg": degrees})):
        source = Episode("off", change(states), change(actions) if absolute else actions, {})
        assert why_implausible(source.states, right.actions, spec) != []
        converted = Conversion.parse(absolute=absolute, **option)(source)
        np.testing.assert_allclose(converted.states, states, atol=1e-9)
        np.testing.assert_allclose(converted.actions, right.actions, atol=1e-9)


@pytest.mark.parametrize(
    "units", [["mm,mm"], ["mm,cm"], ["deg,deg"], ["mm", "action:cm"], ["state:deg", "state:deg"], ["mm", "mm"]]
)
def test_a_unit_is_named_once(units: list[str]) -> None:
    with pytest.raises(ValueError, match="have one unit, got more"):
        Conversion.parse(units=units)
    Conversion.parse(units=["mm,deg"])
    Conversion.parse(units=["state:mm", "action:cm", "deg"])


@pytest.mark.parametrize("option", ["pitch_offset_deg", "tool_turn_deg"])
@pytest.mark.parametrize("degrees", [360.0, float("nan"), float("inf")])
def test_a_turn_is_of_degrees(option: str, degrees: float) -> None:
    with pytest.raises(ValueError, match="expected degrees from -180 to 180"):
        Conversion.parse(**{option: degrees})


def test_single_outliers_pass(spec: RobotSpec) -> None:
    states, actions = np.tile(np.array([0.3, 0, 0.1, 0, 0, 0, 0.5]), (1000, 1)), np.zeros((1000, 7))
    states[:5, 5], actions[:5, 5], actions[5:10, 0] = 6.28, -6.28, 0.4
    assert why_implausible(states, actions, spec) == []


@pytest.mark.parametrize("always", [0.0, 0.05, 1.0])
def test_a_gripper_that_never_moves_is_no_matter(spec: RobotSpec, always: float) -> None:
    """0.05 is how far BridgeData's gripper closes; there is nothing to tell it from metres, so it is insisted upon."""
    states = np.tile(np.array([0.3, 0, 0.1, 0, 0, 0, always]), (100, 1))
    found = why_implausible(states, np.full((100, 7), 0.0), spec)
    assert [line.split(":")[0] for line in found] == (["state gripper"] if always == 0.05 else [])


def _write(folder: Path, maker, convert=lambda states, actions: None, num_steps: int = 9) -> None:
    records = []
    for seed in range(3):
        features = maker.features(num_steps, seed=seed, filler=())
        tables = {
            key: np.array(features[key], np.float64).reshape(num_steps, 7)
            for key in ("steps/observation/state", "steps/action")
        }
        states, actions = tables.values()
        convert(states, actions)
        features |= {key: values.ravel().tolist() for key, values in tables.items()}
        records.append(maker.record(maker.example(features)))
    write_shard(folder / SHARD, records)


def test_an_import_in_other_units_is_refused_converted_or_insisted_upon(tmp_path, tfrecord_maker, capsys) -> None:
    from mqe_core.cli import main

    def change(states: np.ndarray, actions: np.ndarray) -> None:
        states[:, :3] *= 1000
        actions[:, 3:6] *= 180 / np.pi
        for values in (states, actions):
            values[:, 6] = 2 * values[:, 6] - 1

    _write(tmp_path / "right", tfrecord_maker)
    _write(tmp_path / "wrong", tfrecord_maker, change)
    call = ["data", "import", str(tmp_path / "wrong"), "--image-size", "16", "--out"]
    assert main([*call, str(tmp_path / "store")]) == 1
    error = capsys.readouterr().err
    assert "state x: " in error and "--units=state:mm" in error and "--units=action:deg" in error
    assert "--gripper=state:-1..1" in error and "--trust-units" in error
    assert not (tmp_path / "store").exists()
    options = ["--units=state:mm", "--units=action:deg", "--gripper=-1..1"]
    assert main([*call, str(tmp_path / "store"), *options]) == 0
    assert main([*call, str(tmp_path / "trusted"), "--trust-units"]) == 0
    assert main(["data", "import", str(tmp_path / "right"), "--image-size", "16", "--out", str(tmp_path / "same")]) == 0
    store, same = EpisodeStore.open(tmp_path / "store"), EpisodeStore.open(tmp_path / "same")
    np.testing.assert_allclose(store.states, same.states, atol=1e-5)
    np.testing.assert_allclose(store.actions, same.actions, atol=1e-5)
    assert EpisodeStore.open(tmp_path / "trusted").states[:, 0].min() > 100
    assert store.metadata["conversion"]["units"] == {"state": ["mm"], "action": ["deg"]}


def test_absolute_poses_become_the_steps_that_lead_there() -> None:
    rng = np.random.default_rng(3)
    states = np.array([0.3, 0.0, 0.1, 0.0, 0.0, 0.0, 0.5]) + rng.normal(0, 0.01, (6, 7))
    steps = np.concatenate([rng.normal(0, 0.02, (5, 6)), rng.uniform(0, 1, (5, 1))], axis=1)
    target, targets = state_to_pose(states[0]), []
    for state, step in zip(states, steps):
        target = apply_action(target, step, state_to_pose(state))
        targets.append(pose_to_state(target, step[6]))
    made = Conversion(absolute=True)(Episode("one", states, np.array(targets)))
    np.testing.assert_allclose(made.actions, steps, atol=1e-9)


@pytest.mark.parametrize("text", ["", "1..1", "a..b", "0-1", "states:0..1", "0..1..2"])
def test_an_option_that_is_not_understood_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"--gripper=.*expected CLOSED\.\.OPEN"):
        Conversion.parse(grippers=[text])
    with pytest.raises(ValueError, match="--units=.*expected mm, cm or deg"):
        Conversion.parse(units=[text])


def test_seven_steps_of_eight_numbers_are_no_eight_steps(tmp_path, tfrecord_maker) -> None:
    """56 numbers could be either; the record says which."""
    for wide, pad, told in ((8, 0.0, None), (8, 0.3, "rows of 8 numbers"), (9, 0.0, r"\(7, 9\)")):
        features = tfrecord_maker.features(7, filler=())
        states = np.array(features["steps/observation/state"]).reshape(7, 7)
        widened = np.insert(states, [6] * (wide - 7), pad, axis=1)
        features["steps/observation/state"] = widened.ravel().tolist()
        write_shard(tmp_path / f"src{wide}{pad}" / SHARD, [tfrecord_maker.record(tfrecord_maker.example(features))])
        if told is None:
            store = import_shards(tmp_path / f"src{wide}{pad}", tmp_path / "store")
            np.testing.assert_allclose(store.states, states, rtol=1e-6)
        else:
            with pytest.raises(ValueError, match=told):
                import_shards(tmp_path / f"src{wide}{pad}", tmp_path / "none")


def test_the_number_of_steps_is_told_by_the_images_where_nothing_else_does(tmp_path, tfrecord_maker) -> None:
    keys = ("steps/is_first", "steps/is_last", "steps/language_instruction")
    features = {key: values for key, values in tfrecord_maker.features(7, filler=()).items() if key not in keys}
    write_shard(tmp_path / "src" / SHARD, [tfrecord_maker.record(tfrecord_maker.example(features))])
    assert import_shards(tmp_path / "src", tmp_path / "store").num_frames == 7
    bare = {key: values for key, values in features.items() if "image" not in key}
    write_shard(tmp_path / "bare" / SHARD, [tfrecord_maker.record(tfrecord_maker.example(bare))])
    with pytest.raises(ValueError, match="how many steps it has stands nowhere"):
        import_shards(tmp_path / "bare", tmp_path / "none")
    odd = features | {"steps/is_first": [1] * 7, "steps/reward": [0.0] * 8}
    write_shard(tmp_path / "odd" / SHARD, [tfrecord_maker.record(tfrecord_maker.example(odd))])
    with pytest.raises(ValueError, match="different numbers of steps"):
        import_shards(tmp_path / "odd", tmp_path / "none")


def test_a_raw_tree_of_eight_columns_is_known_too(tmp_path, make_trajectory) -> None:
    import pickle

    made = make_trajectory(tmp_path / "src/2023-01-01_00-00-00/raw/traj_group0/traj0", 5)
    wide = {"full_state": np.insert(made.states, 6, 0.0, axis=1)}
    (made.folder / "obs_dict.pkl").write_bytes(pickle.dumps(wide))
    store = import_shards(tmp_path / "src", tmp_path / "store")
    np.testing.assert_allclose(store.states, made.states, rtol=1e-6)
    with pytest.raises(ValueError, match="rows of 8 numbers"):
        seven_columns(np.ones((3, 8)), "states")


def test_a_policy_beyond_twice_the_arms_steps_is_refused(spec: RobotSpec) -> None:
    check_step_limits([*[-0.1] * 3, *[-0.5] * 3, 0.0], [*[0.1] * 3, *[0.5] * 3, 1.0], spec)
    with pytest.raises(ValueError, match="the policy's dy reaches from -14 to 0.1 m, beyond twice the step"):
        check_step_limits([-0.1, -14.0, *[-0.1] * 5], [0.1] * 7, spec)


def test_the_options_stand_in_the_help(capsys) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    data.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["import", "--help"])
    said = capsys.readouterr().out
    assert all(option in said for option in ("--camera", "--gripper", "--units", "--actions", "--trust-units"))
