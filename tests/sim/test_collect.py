"""Collections: the raw BridgeData tree, the same bytes for any number of workers, and a continued run."""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing.dummy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.files import disk
from mqe_core.files.disk import WriteError
from mqe_core.learning.rows.scenes import scene_ends
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED
from mqe_core.safe_pickle import load
from mqe_sim import collect as collecting
from mqe_sim import takeover
from mqe_sim.bridge_tree import bytes_of, check_stages
from mqe_sim.collect import CollectionSettings, collect
from mqe_sim.demonstration import UnreachableError, run_oracle
from mqe_sim.scene import solve_scene
from mqe_sim.takeover import Driver
from mqe_sim.tasks import shuffled_stages
from mqe_sim.tasks.home import HOME_STATE
from mqe_sim.world import World

POLICY = Path(__file__).parents[2] / "ros2_ws" / "src" / "mqe_bringup" / "policies" / "widowx_sim.onnx"


def tree_hash(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()


def test_workers_and_an_interruption_do_not_change_a_byte(tmp_path):
    settings = CollectionSettings("place1", seed=7, size=(64, 48))
    collect(settings, 3, tmp_path / "one")
    collect(settings, 1, tmp_path / "two")  # stopped after one episode
    leftover = next((tmp_path / "two").rglob("traj_group0")) / "traj1.partial"
    leftover.mkdir()
    report = collect(settings, 3, tmp_path / "two", workers=2)
    assert report.written == 2
    assert tree_hash(tmp_path / "one") == tree_hash(tmp_path / "two")


def test_after_a_policy_the_script_goes_on_from_where_that_has_come(tmp_path):
    """The same bytes for any number of workers, single stages, and the record begins elsewhere than the script's own
    would.
    """
    settings = CollectionSettings("place2", seed=3, single_stages=True, size=(64, 48), after_policy=POLICY)
    for workers in (1, 2):
        collect(settings, 4, tmp_path / str(workers), workers=workers)
    assert tree_hash(tmp_path / "1") == tree_hash(tmp_path / "2")
    events, others = check_stages(tmp_path / "1")
    assert events == {"takeover": 4} and others == []
    with pytest.raises(ValueError, match="other settings"):
        collect(replace(settings, after_policy=None), 4, tmp_path / "1")


def test_it_is_the_policy_that_drives_until_the_script_takes_over(make_bundle, tmp_path):
    """One that goes up and closes the gripper, until the arm cannot follow; the script then opens it and places the
    cube.
    """
    policy = make_bundle(action=(0.0, 0.0, 0.02, 0, 0, 0, 0.0))
    collect(CollectionSettings("place1", single_stages=True, size=(64, 48), after_policy=policy), 2, tmp_path)
    episodes = [load(path) for path in tmp_path.rglob("obs_dict.pkl")]
    assert len(episodes) == 2
    for episode in episodes:
        first, height_m = episode["desired_state"][0], HOME_STATE[2]
        assert first[2] > height_m + 0.05 and first[6] == 0.0 and episode["full_state"][0][2] > height_m + 0.05
        assert episode["desired_state"][1][6] == 1.0


def test_a_policy_of_real_images_does_not_drive_in_the_sim(make_bundle, tmp_path):
    with pytest.raises(ValueError, match="trained on real images"):
        collect(CollectionSettings("place1", after_policy=make_bundle(domain="real")), 1, tmp_path)


def test_a_driver_s_goal_shows_the_whole_task_solved_in_the_scene_that_it_drives_in(make_bundle, monkeypatch):
    """In a task of one stage that is the stage's scene: scene 2 of drawer_open has the cube in the drawer then, and on
    the table else.
    """
    goals = []

    class Watched(Driver):
        def __init__(self, bundle, goal, rng):
            goals.append(goal)
            super().__init__(bundle, goal, rng)

    monkeypatch.setattr("mqe_sim.demonstration.Driver", Watched)
    world, policy, size = World(load_robot_spec()), PolicyBundle.open(make_bundle()), (64, 48)
    for task, seed, stage, shown in (("drawer_open", 2, 0, 0), ("place2", 0, 0, None)):
        run_oracle(world, task, seed, size, stage=stage, policy=policy)
        np.testing.assert_array_equal(goals[-1], solve_scene(world, task, seed, *size, stage=shown)[0])
        other = None if shown == 0 else 0
        assert not np.array_equal(goals[-1], solve_scene(world, task, seed, *size, stage=other)[0])
    world.close()


def test_after_a_policy_a_drawer_s_cube_may_lie_inside(monkeypatch):
    monkeypatch.setattr(takeover, "_STEPS", (8, 9))  # no policy has opened the drawer so soon
    world, policy = World(load_robot_spec()), PolicyBundle.open(POLICY)
    before = {
        run_oracle(world, "drawer_open", seed, (64, 48), stage=0, policy=policy).outcome.stages_before
        for seed in (40, 41, 42)
    }
    assert before == {(False, False), (False, True)}


def test_a_tree_of_other_settings_is_not_mixed(tmp_path):
    collect(CollectionSettings("place1", size=(32, 24)), 1, tmp_path)
    with pytest.raises(ValueError, match="other settings"):
        collect(CollectionSettings("place1", seed=5, size=(32, 24)), 1, tmp_path)


def test_a_collection_that_clearly_does_not_fit_ends_and_keeps_what_it_has(tmp_path, monkeypatch):
    episodes = [tmp_path / f"{k}" for k in range(8)]
    for k, folder in enumerate(episodes):
        (folder / "images0").mkdir(parents=True)
        (folder / "images0/im_0.jpg").write_bytes(bytes(10**6))
    assert bytes_of(episodes[0]) == 10**6 and bytes_of(tmp_path / "none") == 0
    jobs = [SimpleNamespace(folder=folder) for folder in [*episodes, *(tmp_path / f"{k}" for k in range(8, 1000))]]
    monkeypatch.setattr(collecting, "_jobs", lambda *_: jobs)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**8))
    with pytest.raises(WriteError, match="out would take about 1000 MB, and 108 MB were free at .*; collect fewer"):
        collect(CollectionSettings("reach"), 1000, tmp_path / "out")


def test_evaluation_scenes_are_out_of_reach(tmp_path):
    with pytest.raises(ValueError, match="evaluation seeds"):
        collect(CollectionSettings("place1", seed=FIRST_EVALUATION_SEED - 5), 10, tmp_path)


@pytest.mark.parametrize("task", ["place3", "drawer_close", "drawer_place"])
def test_stage_episodes_start_and_end_one_stage_apart_and_the_check_sees_one_that_does_not(task, tmp_path):
    report = collect(CollectionSettings(task, single_stages=True, size=(32, 24)), 3, tmp_path)
    assert report.episodes == 3 and report.mean_score == 1.0
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

    def unlucky(world, task, seed, size, *, stage, done, attempt, randomise, policy):
        made.append((seed, attempt))
        if seed == 1:
            raise UnreachableError("too far")
        record = run_oracle(world, task, seed, size, stage=stage, attempt=0)
        return record if attempt == 2 else replace(record, outcome=replace(record.outcome, score=0.0))

    monkeypatch.setattr("mqe_sim.collect.run_oracle", unlucky)
    monkeypatch.setattr("mqe_sim.collect.multiprocessing.get_context", lambda _: multiprocessing.dummy)
    report = collect(CollectionSettings("reach", single_stages=True, size=(32, 24)), 2, tmp_path)
    assert report.episodes == 1 and report.skipped == 1
    assert made == [(0, 0), (0, 1), (0, 2), *((1, attempt) for attempt in range(8))]


def test_the_last_stages_can_be_shown_alone(tmp_path):
    """The same episodes as when the scenes are worked through from the beginning."""
    settings = CollectionSettings("place2", single_stages=True, size=(32, 24))
    collect(settings, 4, tmp_path / "all")
    report = collect(replace(settings, first_stage=1), 2, tmp_path / "last")
    assert report.written == 2
    roots = tmp_path / "all", tmp_path / "last"
    episodes = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("traj1/**/*") if path.is_file()}
        for root in roots
    ]
    assert len(episodes[1]) > 40 and episodes[0] == episodes[1] and not list((tmp_path / "last").rglob("traj0"))
    with pytest.raises(ValueError, match="place2 has stages 1 to 2, not a stage 3"):
        replace(settings, first_stage=2)
    with pytest.raises(ValueError, match="--stage"):
        CollectionSettings("place2", first_stage=1)


def test_a_drawn_order_is_shown_from_any_place_in_it(tmp_path):
    """--first-stage counts along the scene's own order. The tree says that it was drawn, and is no other's."""
    settings = CollectionSettings("place2", single_stages=True, shuffled=True, first_stage=1, size=(32, 24))
    seeds = [next(seed for seed in range(20) if shuffled_stages("place2", seed) == order) for order in ((0, 1), (1, 0))]
    for seed, last in zip(seeds, (1, 0)):
        collect(replace(settings, seed=seed), 1, tmp_path / str(last))
        outcome = json.loads(next((tmp_path / str(last)).rglob("traj1/outcome.json")).read_text())
        assert outcome["stages_before"] == [last == 1, last == 0] and outcome["stages_after"] == [True, True]
    with pytest.raises(ValueError, match="other settings"):
        collect(replace(settings, seed=seeds[0], shuffled=False), 1, tmp_path / "1")
    with pytest.raises(ValueError, match="--shuffle-stages"):
        CollectionSettings("place2", shuffled=True)


def test_a_folder_without_episodes_is_no_proof(tmp_path):
    with pytest.raises(ValueError, match="holds no episodes"):
        check_stages(tmp_path)


def test_a_drawer_is_opened_with_the_cube_inside_and_outside():
    world = World(load_robot_spec())
    records = [run_oracle(world, "drawer_open", seed, size=None, stage=0) for seed in range(8)]
    world.close()
    kept = [record.outcome for record in records if record.outcome.shows_one_stage]
    assert {outcome.stages_before for outcome in kept} == {(False, False), (False, True)}
    assert all(outcome.stages_after == (True, outcome.stages_before[1]) for outcome in kept)


@pytest.mark.parametrize("shuffled", [False, True])
def test_the_stages_of_a_scene_follow_one_another_on_one_table(tmp_path, shuffled):
    """Episode k of a scene begins where episode k - 1 ended, object by object, and the store knows that they belong
    together. The order is the table's, or the scene's own.
    """
    settings = CollectionSettings("place3", single_stages=True, shuffled=shuffled, size=(32, 24))
    collect(settings, 6, tmp_path / "raw")
    outcomes = {path: json.loads(path.read_text()) for path in sorted((tmp_path / "raw").rglob("outcome.json"))}
    scenes = [list(group) for _, group in itertools.groupby(outcomes.items(), key=lambda item: item[0].parents[3])]
    assert [len(scene) for scene in scenes] == [3, 3]
    orders = [shuffled_stages("place3", seed) if shuffled else (0, 1, 2) for seed in (0, 1)]
    assert (orders[0] != orders[1]) == shuffled, "two scenes that tell the two apart"
    for scene, order in zip(scenes, orders):
        before, after = ([outcome[key] for _, outcome in scene] for key in ("stages_before", "stages_after"))
        assert before[0] == [False] * 3 and after[-1] == [True] * 3 and before[1:] == after[:-1]
        assert before == [[stage in order[:number] for stage in range(3)] for number in range(3)]
    import_episodes(open_source(tmp_path / "raw"), tmp_path / "store", image_size=16, source_name="raw")
    store = EpisodeStore.open(tmp_path / "store")
    assert [int(np.searchsorted(store.episode_ends, end)) for end in scene_ends(store)] == [2, 5]
