"""Collections: the raw BridgeData tree, the same bytes for any number of workers, and a continued run."""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing.dummy
from pathlib import Path

import numpy as np
import pytest

from mqe_core.bundle import PolicyBundle
from mqe_core.data.episode_store import EpisodeStore
from mqe_core.data.importer import import_episodes, open_source
from mqe_core.learning.scenes import scene_ends
from mqe_core.runtime.robot import FIRST_EVALUATION_SEED
from mqe_core.safe_pickle import load
from mqe_core.spec import load_robot_spec
from mqe_sim.collect import UnreachableError, check_stages, collect, run_oracle, shows_one_stage
from mqe_sim.scene import solve_scene
from mqe_sim.takeover import Driver
from mqe_sim.tasks.home import HOME_STATE
from mqe_sim.world import World

POLICY = Path(__file__).parents[2] / "ros2_ws" / "src" / "mqe_bringup" / "policies" / "widowx_sim.onnx"


def tree_hash(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()


def test_workers_and_an_interruption_do_not_change_a_byte(tmp_path):
    kwargs = {"seed": 7, "size": (64, 48)}
    collect("widowx250s", "place1", 3, tmp_path / "one", workers=1, **kwargs)
    collect("widowx250s", "place1", 1, tmp_path / "two", workers=1, **kwargs)  # stopped after one episode
    leftover = next((tmp_path / "two").rglob("traj_group0")) / "traj1.partial"
    leftover.mkdir()
    report = collect("widowx250s", "place1", 3, tmp_path / "two", workers=2, **kwargs)
    assert report["written"] == 2
    assert tree_hash(tmp_path / "one") == tree_hash(tmp_path / "two")


def test_after_a_policy_the_script_goes_on_from_where_that_has_come(tmp_path):
    """The same bytes for any number of workers, single stages, and the record begins elsewhere than the script's own would."""
    kwargs = {"stage": True, "seed": 3, "size": (64, 48), "after_policy": POLICY}
    for workers in (1, 2):
        collect("widowx250s", "place2", 4, tmp_path / str(workers), workers=workers, **kwargs)
    assert tree_hash(tmp_path / "1") == tree_hash(tmp_path / "2")
    events, others = check_stages(tmp_path / "1")
    assert events == {"takeover": 4} and others == []
    with pytest.raises(ValueError, match="other settings"):
        collect("widowx250s", "place2", 4, tmp_path / "1", stage=True, seed=3, size=(64, 48))


def test_it_is_the_policy_that_drives_until_the_script_takes_over(make_bundle, tmp_path):
    """One that goes up and closes the gripper, until the arm cannot follow; the script then opens it and places the cube."""
    policy = make_bundle(action=(0.0, 0.0, 0.02, 0, 0, 0, 0.0))
    collect("widowx250s", "place1", 2, tmp_path, stage=True, size=(64, 48), after_policy=policy)
    episodes = [load(path) for path in tmp_path.rglob("obs_dict.pkl")]
    assert len(episodes) == 2
    for episode in episodes:
        first, height_m = episode["desired_state"][0], HOME_STATE[2]
        assert first[2] > height_m + 0.05 and first[6] == 0.0 and episode["full_state"][0][2] > height_m + 0.05
        assert episode["desired_state"][1][6] == 1.0


def test_a_policy_of_real_images_does_not_drive_in_the_sim(make_bundle, tmp_path):
    with pytest.raises(ValueError, match="trained on real images"):
        collect("widowx250s", "place1", 1, tmp_path, after_policy=make_bundle(domain="real"))


def test_a_driver_s_goal_shows_the_whole_task_solved_in_the_scene_that_it_drives_in(make_bundle, monkeypatch):
    """In a task of one stage that is the stage's scene: scene 2 of drawer_open has the cube in the drawer then, and on the table else."""
    goals = []

    class Watched(Driver):
        def __init__(self, bundle, goal, rng):
            goals.append(goal)
            super().__init__(bundle, goal, rng)

    monkeypatch.setattr("mqe_sim.collect.Driver", Watched)
    world, policy, size = World(load_robot_spec()), PolicyBundle.open(make_bundle()), (64, 48)
    for task, seed, stage, shown in (("drawer_open", 2, 0, 0), ("place2", 0, 0, None)):
        run_oracle(world, task, seed, size, stage=stage, policy=policy)
        np.testing.assert_array_equal(goals[-1], solve_scene(world, task, seed, *size, stage=shown)[0])
        other = None if shown == 0 else 0
        assert not np.array_equal(goals[-1], solve_scene(world, task, seed, *size, stage=other)[0])
    world.close()


def test_after_a_policy_a_drawer_s_cube_may_lie_inside(tmp_path):
    collect("widowx250s", "drawer_open", 3, tmp_path, stage=True, size=(64, 48), after_policy=POLICY)
    before = {tuple(json.loads(path.read_text())["stages_before"]) for path in tmp_path.rglob("outcome.json")}
    assert (False, True) in before and before <= {
        (False, False),
        (False, True),
    }  # a good policy may have opened the others already


def test_a_tree_of_other_settings_is_not_mixed(tmp_path):
    collect("widowx250s", "place1", 1, tmp_path, size=(32, 24))
    with pytest.raises(ValueError, match="other settings"):
        collect("widowx250s", "place1", 1, tmp_path, seed=5, size=(32, 24))


def test_evaluation_scenes_are_out_of_reach(tmp_path):
    with pytest.raises(ValueError, match="evaluation seeds"):
        collect("widowx250s", "place1", 10, tmp_path, seed=FIRST_EVALUATION_SEED - 5)


@pytest.mark.parametrize("task", ["place3", "drawer_close", "drawer_place"])
def test_stage_episodes_start_and_end_one_stage_apart_and_the_check_sees_one_that_does_not(task, tmp_path):
    report = collect("widowx250s", task, 3, tmp_path, stage=True, size=(32, 24))
    assert report["episodes"] == 3 and report["mean_score"] == 1.0
    events, others = check_stages(tmp_path)
    assert events.total() == 3 and others == []
    outcome = next(tmp_path.rglob("outcome.json"))
    content = json.loads(outcome.read_text(encoding="utf-8"))
    outcome.write_text(json.dumps({**content, "stages_before": content["stages_after"]}), encoding="utf-8")
    assert check_stages(tmp_path)[1] == [outcome.parent]
    outcome.write_text(json.dumps({**content, "score": 0.0}), encoding="utf-8")  # another stage than the wanted one
    assert check_stages(tmp_path)[1] == [outcome.parent]


def test_a_scene_whose_every_attempt_fails_is_skipped_and_counted(tmp_path, monkeypatch):
    made = []

    def unlucky(world, task, seed, size, *, stage, attempt, randomise, policy):
        made.append((seed, attempt))
        if seed == 1:
            raise UnreachableError("too far")
        record = run_oracle(world, task, seed, size, stage=stage, attempt=0)
        return record if attempt == 2 else {**record, "score": 0.0}

    monkeypatch.setattr("mqe_sim.collect.run_oracle", unlucky)
    monkeypatch.setattr("mqe_sim.collect.multiprocessing.get_context", lambda _: multiprocessing.dummy)
    report = collect("widowx250s", "reach", 2, tmp_path, stage=True, size=(32, 24))
    assert report["episodes"] == 1 and report["skipped"] == 1
    assert made == [(0, 0), (0, 1), (0, 2), *((1, attempt) for attempt in range(8))]


def test_the_last_stages_can_be_shown_alone(tmp_path):
    """The same episodes as when the scenes are worked through from the beginning."""
    kwargs = {"stage": True, "size": (32, 24)}
    collect("widowx250s", "place2", 4, tmp_path / "all", **kwargs)
    report = collect("widowx250s", "place2", 2, tmp_path / "last", first_stage=1, **kwargs)
    assert report["written"] == 2
    roots = tmp_path / "all", tmp_path / "last"
    episodes = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("traj1/**/*") if path.is_file()}
        for root in roots
    ]
    assert len(episodes[1]) > 40 and episodes[0] == episodes[1] and not list((tmp_path / "last").rglob("traj0"))
    with pytest.raises(ValueError, match="place2 has stages 1 to 2, not a stage 3"):
        collect("widowx250s", "place2", 2, tmp_path / "none", first_stage=2, **kwargs)
    with pytest.raises(ValueError, match="--stage"):
        collect("widowx250s", "place2", 2, tmp_path / "none", first_stage=1, size=(32, 24))


def test_a_folder_without_episodes_is_no_proof(tmp_path):
    with pytest.raises(ValueError, match="holds no episodes"):
        check_stages(tmp_path)


def test_a_drawer_is_opened_with_the_cube_inside_and_outside():
    world = World(load_robot_spec())
    records = [run_oracle(world, "drawer_open", seed, size=None, stage=0) for seed in range(8)]
    world.close()
    kept = [record for record in records if shows_one_stage(record)]
    assert {record["stages_before"] for record in kept} == {(False, False), (False, True)}
    assert all(record["stages_after"] == (True, record["stages_before"][1]) for record in kept)


def test_the_stages_of_a_scene_follow_one_another_on_one_table(tmp_path):
    """Episode k of a scene begins where episode k - 1 ended, object by object, and the store knows that they belong together."""
    collect("widowx250s", "place3", 6, tmp_path / "raw", stage=True, size=(32, 24))
    outcomes = {path: json.loads(path.read_text()) for path in sorted((tmp_path / "raw").rglob("outcome.json"))}
    scenes = [list(group) for _, group in itertools.groupby(outcomes.items(), key=lambda item: item[0].parents[3])]
    assert [len(scene) for scene in scenes] == [3, 3]
    for scene in scenes:
        before, after = ([outcome[key] for _, outcome in scene] for key in ("stages_before", "stages_after"))
        assert before[0] == [False] * 3 and after[-1] == [True] * 3 and before[1:] == after[:-1]
        assert before == [[index < stage for index in range(3)] for stage in range(3)]  # in the table's order
    import_episodes(open_source(tmp_path / "raw"), tmp_path / "store", image_size=16, source_name="raw")
    store = EpisodeStore.open(tmp_path / "store")
    assert [int(np.searchsorted(store.episode_ends, end)) for end in scene_ends(store)] == [2, 5]
