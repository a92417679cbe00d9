"""benchmarks/closed_loop_states.py: its methods choose as they are named, and its table pairs what belongs together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training is not installed: make learn")
pytest.importorskip("pybullet")

import torch

from benchmarks import closed_loop_states, true_states, true_states_methods, true_states_play, true_states_subgoals
from benchmarks.true_states_extraction import goals_elsewhere
from benchmarks.true_states_methods import Chooser, Method, train
from benchmarks.true_states_play import Asked
from benchmarks.true_states_subgoals import SubgoalChooser
from mqe_core.policy.contract import NONE_CHOSEN
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED

RUNS = ("gcbc", "flow", "critic", "critic contrasts", "critic gciql")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> true_states.TrueStates:
    """Two scenes with two stages each."""
    folder = tmp_path_factory.mktemp("states")
    assert all(true_states.collect(folder, "place2", seed) for seed in (0, 1))
    assert true_states.collect(folder, "place2", 0) == 0, "what is there is not made again"
    return true_states.TrueStates(folder)


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory) -> Path:
    """Weights of runs of two updates."""
    out = tmp_path_factory.mktemp("runs")
    for run in RUNS:
        train(data, run, 0, 2, out)
    return out


def test_the_data_are_stages_of_scenes_with_the_places_of_things(data) -> None:
    assert data.scenes == 2 and data.num_episodes == len(data.episode_ends) >= 3
    assert data.states.shape == (data.num_frames, 7 + 12 + 20) and data.stage_actions.shape == (data.num_frames, 2, 7)
    assert (~data.valid).sum() == data.num_episodes and not data.valid[data.episode_ends - 1].any()
    assert np.isnan(data.stage_actions[~data.valid]).all()
    begins = np.concatenate([[0], data.episode_ends[:-1]])
    for begin, last in zip(begins, data.episode_ends - 1):
        apart = (data.states[last, 7:19] - data.states[begin, 7:19]).reshape(4, 3)
        assert data.states[last, -2:].max() > 0.8 and data.states[begin, -2:].min() < 0.1, "on its target, and not"
        far = np.linalg.norm(apart, axis=1) > 0.02
        assert far[:2].sum() == 1 and not far[2:].any(), "one object is moved, and no target"


def test_a_mirrored_copy_shows_the_mirrored_way() -> None:
    """What a hand does on its way to a thing, seen in a mirror, leads its image to the image of the thing."""
    rng = np.random.default_rng(0)
    states, actions = rng.uniform(0.1, 0.3, (5, 7 + 12)), rng.uniform(-0.03, 0.03, (5, 7))
    ways = np.repeat(actions[:, None], 2, axis=1)
    for signs in ([1, 1], [-1, 1], [1, -1], [-1, -1]):
        shifts = np.full((5, 2), 0.02)
        there, done, done_ways = true_states.moved(states, actions, ways, np.tile(signs, (5, 1)), shifts)
        np.testing.assert_array_equal(done_ways[:, 1], done)
        for part in (slice(0, 3), slice(7, 10)):
            step = there[1:, part] - there[:-1, part]
            np.testing.assert_allclose(step, (states[1:, part] - states[:-1, part]) * [*signs, 1], atol=1e-12)
        np.testing.assert_allclose(done[:, :3], actions[:, :3] * [*signs, 1], atol=1e-12)
        turn = signs[0] * signs[1]  # about the vertical: one mirror reverses it, two do not
        np.testing.assert_allclose(done[:, 5], actions[:, 5] * turn)
        np.testing.assert_allclose(there[:, 2], states[:, 2])


def test_copies_are_scenes_of_their_own(data) -> None:
    more = true_states.TrueStates(data.path, 3)
    assert more.scenes == 3 * data.scenes and more.num_frames == 3 * data.num_frames
    np.testing.assert_array_equal(more.states[: data.num_frames], data.states)
    assert np.abs(more.states[data.num_frames : 2 * data.num_frames] - data.states).max() > 0.001


def test_a_drawer_is_never_mirrored_to_open_the_other_way(tmp_path) -> None:
    assert true_states.collect(tmp_path, "drawer_place", 0)
    data, copies = true_states.TrueStates(tmp_path), true_states.TrueStates(tmp_path, 6)
    assert data.moving == data.width == 13, "its bar moves"
    bars = copies.states[:, 10:13].reshape(6, data.num_frames, 3)
    opened = bars[:, data.episode_ends[0] - 1] - bars[:, 0]
    np.testing.assert_allclose(opened, np.tile(opened[0], (6, 1)), atol=1e-5)
    assert abs(opened[0, 1]) > 0.05
    cubes = copies.states[:, 7:10].reshape(6, data.num_frames, 3)
    carried = cubes[:, -1] - cubes[:, data.episode_ends[0]]
    assert abs(carried[0, 0]) > 0.01 and {*np.sign(carried[:, 0] / carried[0, 0])} == {1.0, -1.0}, "along x it is"


def test_what_never_changes_is_proposed_as_it_is(tmp_path, monkeypatch) -> None:
    """A drawer's bar stays as high as it is."""
    monkeypatch.setattr(true_states_subgoals, "_UPDATES", 3)
    assert true_states.collect(tmp_path, "drawer_place", 0)
    data = true_states.TrueStates(tmp_path)
    futures = true_states_subgoals.train_futures(data, 10, 0, tmp_path / "futures.pt")
    now = data.states[0, : data.width].astype(np.float64)
    proposed = futures(now, torch.randn(8, data.moving))
    np.testing.assert_allclose(proposed[:, 12], now[12], atol=1e-3)
    assert np.isfinite(proposed).all() and np.ptp(proposed[:, 11]) > 1e-3


@pytest.mark.parametrize("run", ["Q of MQE, alpha 0.03", "Q of MQE+contrasts, other goals, alpha 0.03"])
def test_a_policy_climbs_the_q_term_of_a_critic_that_stays_as_it_is(data, folder, run, monkeypatch) -> None:
    monkeypatch.setitem(true_states_methods.RUNS, run, true_states_methods.RUNS[run] | {"batch_size": 64})
    finds = {}
    for updates in (1, 60):
        out = folder / f"{updates} of {run}"
        out.mkdir()
        critic = true_states_methods._file(out, true_states_methods.CLIMBED[run][0], 0)
        critic.write_bytes((folder / critic.name).read_bytes())
        train(data, run, 0, updates, out)
        agent, _ = true_states_methods.load(data, run, 0, out)
        kept = torch.load(critic)["weights"]
        for name, value in agent.state_dict().items():
            if not name.startswith("actor"):
                torch.testing.assert_close(value, kept[name], rtol=0.0, atol=0.0)
        states, goals = (
            torch.from_numpy(data.states[frames]) for frames in ([0, 3, 6], data.episode_ends[[0, 0, 1]] - 1)
        )
        with torch.inference_mode():
            tried = torch.cat([agent.critic_encoder(states), agent.actor(states, goals).mean], dim=-1)
            far = agent.head(agent.phi(tried), agent.psi(agent.critic_encoder(goals))).amax(0)
        finds[updates] = float(far.mean())
    assert finds[60] < finds[1], "the goals are nearer by d"


def test_goals_elsewhere_are_of_other_rows_of_the_same_scene() -> None:
    rows, scenes = torch.arange(24)[:, None], 4
    source = goals_elsewhere(rows, scenes, 2)[:, 0]
    np.testing.assert_array_equal(source[:12], np.arange(12))
    assert (source[12:] != rows[12:, 0]).all()
    np.testing.assert_array_equal(source % scenes, np.arange(24) % scenes)


def test_a_run_is_trained_once(data, folder) -> None:
    file = folder / "critic_gciql-0.pt"
    before = file.stat().st_mtime_ns
    train(data, "critic gciql", 0, 2, folder)
    assert file.stat().st_mtime_ns == before


def ask(data, folder, method: Method, last: int = -1, draws: int = 0) -> true_states_methods.Answer:
    script = np.array([0.02, 0.0, -0.01, 0.0, 0.0, 0.0, 1.0])
    goal = data.states[data.episode_ends[1] - 1]
    chooser = Chooser(data, method, 0, folder)
    return chooser.act(data.states[0], goal, last, script, np.random.default_rng(draws))


def test_each_choice_takes_one_of_the_same_candidates(data, folder) -> None:
    random = ask(data, folder, Method("flow", "random"))
    chosen = ask(data, folder, Method("flow", "critic", "critic"))
    again = ask(data, folder, Method("flow", "critic", "critic contrasts"))
    other = ask(data, folder, Method("flow", "critic", "critic gciql"))
    for answer in (chosen, again, other):
        np.testing.assert_allclose(answer.candidates, random.candidates, atol=1e-6)
        np.testing.assert_array_equal(answer.action, answer.candidates[answer.chosen])
        assert np.isfinite(answer.steps_to_goal)
    assert len({ask(data, folder, Method("flow", "random"), draws=n).chosen for n in range(8)}) > 1
    first = ask(data, folder, Method("flow", "first", None, 1))
    np.testing.assert_allclose(first.action, random.candidates[0], atol=1e-6)


def test_fewer_candidates_are_the_first_of_more(data, folder) -> None:
    few, many = (ask(data, folder, Method("flow", "critic", "critic", n)).candidates for n in (8, 32))
    np.testing.assert_allclose(few, many[:8], atol=1e-6)


def test_the_script_takes_what_is_nearest_to_it(data, folder) -> None:
    answer = ask(data, folder, Method("flow", "script"))
    scale = Chooser(data, Method("flow", "script"), 0, folder).scale
    wanted = scale.normalise(np.array([0.02, 0.0, -0.01, 0.0, 0.0, 0.0, 1.0]))
    errors = np.linalg.norm(scale.normalise(answer.candidates) - wanted, axis=1)
    assert errors[answer.chosen] == errors.min() < errors.max()


def test_a_scene_is_played_to_its_end_and_alike_each_time(data, folder) -> None:
    chooser = Chooser(data, Method("flow", "critic", "critic", 4), 0, folder)
    first, again = (true_states_play.play(chooser, "place2", FIRST_EVALUATION_SEED) for _ in range(2))
    assert first == again and 0.0 <= first.score <= 2.0 and len(first.steps_to_goal) == 140
    assert first.best_mm[0] <= min(first.chosen_mm[0], first.mean_mm[0])


def test_of_one_candidate_there_is_no_better_and_worse(data, folder) -> None:
    chooser = Chooser(data, Method("flow", "critic", "critic", 1), 0, folder)
    played = true_states_play.play(chooser, "place2", FIRST_EVALUATION_SEED)
    assert played.right == [] and len(played.chosen_mm) == len(played.preferred_mm) > 0
    assert played.row()["right"] is None


def test_the_subgoal_that_is_nearest_to_the_goal_is_gone_to(data, folder, monkeypatch) -> None:
    """Here the nearest is the one with the highest hand; what was chosen last stays within the margin."""
    monkeypatch.setattr(true_states_subgoals, "_UPDATES", 3)
    chooser = SubgoalChooser(data, Method("gcbc", "subgoal", "critic", 8, 10), 0, folder)
    seen = []

    def highest(agent, states, goal, largest=False):
        seen.append(states)
        return -100.0 * states[:, 2].astype(float)

    monkeypatch.setattr(true_states_subgoals, "steps_between", highest)
    now, goal = data.states[0], data.states[data.episode_ends[0] - 1]
    answer = chooser.act(now, goal, NONE_CHOSEN, np.zeros(7), np.random.default_rng(0))
    assert answer.chosen == seen[0][:, 2].argmax() and answer.candidates.shape == (8, 7)
    np.testing.assert_array_equal(seen[0][:, chooser._futures.moving : data.width], np.tile(now[13:19], (8, 1)))
    monkeypatch.setattr(true_states_subgoals, "MARGIN_STEPS", 1e6)
    assert chooser.act(now, goal, 3, np.zeros(7), np.random.default_rng(0)).chosen == 3


def test_one_of_two_objects_is_asked_for_and_the_other_is_to_stay() -> None:
    scenes = [true_states_play.Driven("place2", FIRST_EVALUATION_SEED + i, Asked(wanted=1)) for i in range(4)]
    wanted = []
    for scene in scenes:
        moved = np.linalg.norm((scene.goal - scene.now)[7:13].reshape(2, 3), axis=1) > 0.03
        (number,) = scene.task.wanted
        assert moved[number] and not moved[1 - number]
        wanted.append(number)
    assert set(wanted) == {0, 1}


def test_only_what_was_asked_for_counts_as_exact() -> None:
    rows = {("a", 0): {n: {"score": s, "strayed": moved} for n, (s, moved) in enumerate([(1, 0), (1, 1), (0, 0)])}}
    closed_loop_states.count_exact(rows, 1)
    assert [row["score"] for row in rows["a", 0].values()] == [1.0, 0.0, 0.0]


def test_weights_of_other_keys_are_refused(data, folder, monkeypatch) -> None:
    monkeypatch.setitem(true_states_methods.RUNS, "gcbc", {"agent": "gcbc", "batch_size": 32})
    with pytest.raises(ValueError, match="was trained otherwise than 'gcbc' is now"):
        Chooser(data, Method("gcbc"), 0, folder)


def test_what_is_off_is_measured_to_the_nearest_way() -> None:
    candidates, ways = np.zeros((2, 7)), np.zeros((2, 7))
    candidates[1, 0], ways[0, 0], ways[1, 0] = 0.010, 0.013, -0.02
    np.testing.assert_allclose(true_states_play.off(candidates, ways), [13.0, 3.0])


def test_right_is_how_often_the_better_of_two_is_found_nearer() -> None:
    errors = np.arange(8.0)
    assert true_states_play.right(errors, errors) == 1.0 and true_states_play.right(-errors, errors) == 0.0
    assert true_states_play.right(np.ones(8), errors) == 0.5


def test_the_table_compares_the_scenes_that_two_methods_share(tmp_path, capsys) -> None:
    curves = {"chosen_mm": 1.0, "best_mm": 0.5, "mean_mm": 2.0}
    scores = {("gcbc", 0): [0, 1, 2], ("flow, one", 0): [1, 2, 2], ("flow, one", 1): [0, 0]}
    lines = [
        {"method": name, "seed": seed, "scene": scene, "score": score, **curves}
        for (name, seed), of_scenes in scores.items() for scene, score in enumerate(of_scenes)
    ]  # fmt: skip
    (tmp_path / "played.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = closed_loop_states.read(tmp_path / "played.jsonl")
    assert closed_loop_states.less(rows, "flow, one", "gcbc").startswith("+0.67 (")
    assert closed_loop_states.less(rows, "gcbc", "gcbc") == "–"
    closed_loop_states.print_table(rows, "gcbc")
    table = capsys.readouterr().out.splitlines()
    assert table[2].startswith("| gcbc | 1 | 3 | 1.00 (") and "| 1.50, 0.00 |" in table[3]
