"""Promise: `mqe report` puts on one page, which fetches nothing, what a slow evaluation of the run gives."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mqe_core.cli import main
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.export.onnx_graph import DeployedPolicy
from mqe_core.learning.networks.encoders import ImageEncoder
from mqe_core.learning.report import measure
from mqe_core.learning.report.report import write_report
from mqe_core.learning.rows.held_out import held_out_episodes
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.run_folder import action_scale, load_run
from mqe_core.learning.run.train import train
from tests.data.made_episodes import made_episode, write_store

FRACTION = 0.5


@pytest.fixture
def run(synthetic_store: Path, tmp_path: Path, tiny_config: Callable[..., RunConfig]) -> Callable[..., Path]:
    """A run of three held-out episodes; keywords are keys of its configuration."""

    def make(**keys: object) -> Path:
        train(
            synthetic_store, tmp_path / "run", tiny_config(**{"validation_fraction": FRACTION, **keys}), progress=False
        )
        return tmp_path / "run"

    return make


def figures_of(page: Path) -> dict:
    """Those that stand in it."""
    said = page.read_text(encoding="utf-8")
    (content,) = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', said, re.DOTALL)
    return json.loads(content)


def slowly(run: Path, store: EpisodeStore) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of all held-out frames, one by one: action of the data, of the policy, steps_to_goal, steps that remain."""
    agent, config, metadata = load_run(run)
    scale = action_scale(metadata)
    policy = DeployedPolicy(agent.policy_module(), torch.from_numpy(scale.low), torch.from_numpy(scale.high))
    rows = []
    for episode in held_out_episodes(store, FRACTION, config.train.seed):
        goal = int(store.episode_ends[episode]) - 1
        for frame in range(int(store.episode_starts[episode]), goal):
            pair = [torch.from_numpy(store.images(np.array([each]))) for each in (frame, goal)]
            with torch.no_grad():
                action, *steps = policy(*pair)
            rows.append((store.actions[frame], action[0].numpy(), float(steps[0]) if steps else np.nan, goal - frame))
    return tuple(np.array(column) for column in zip(*rows))  # type: ignore[return-value]  # four columns, as above


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Of values without ties."""
    first, second = (np.argsort(np.argsort(values)).astype(float) for values in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


@pytest.mark.parametrize("observation", ["pixels", "features"])
def test_the_figures_on_the_page_are_those_of_a_slow_evaluation(
    observation, run, encoder_run, synthetic_store, writable_store, tmp_path, tiny_config
) -> None:
    if observation == "features":
        keys = {"observation": "features", "features_of": str(encoder_run), "validation_fraction": FRACTION}
        train(writable_store, tmp_path / "run", tiny_config(**keys), progress=False)
        folder, store = tmp_path / "run", EpisodeStore.open(writable_store)
    else:
        folder, store = run(), EpisodeStore.open(synthetic_store)
    page, _ = write_report(folder)
    said = figures_of(page)
    data, policy, steps, remaining = slowly(folder, store)
    assert page == folder / "report.html" and (said["episodes"], said["frames"]) == (3, 33) == (3, len(data))
    errors = np.abs(policy - data).mean(axis=0)
    for column, name in enumerate(("dx", "dy", "dz", "droll", "dpitch", "dyaw")):
        each, factor = said["action_error"][name], 1000.0 if column < 3 else 180.0 / np.pi
        assert each["mean"] == pytest.approx(factor * errors[column], rel=1e-3)
        assert each["interval"][0] <= each["mean"] <= each["interval"][1] and each["unit"] == ("mm", "deg")[column > 2]
    right = (policy[:, 6] > 0.5) == (data[:, 6] > 0.5)
    assert said["gripper"]["accuracy"] == pytest.approx(right.mean())
    turns = [k for k in range(1, 33) if k % 11 and (data[k, 6] > 0.5) != (data[k - 1, 6] > 0.5)]
    assert said["gripper"]["changes"] == len(turns) > 0
    assert said["gripper"]["accuracy_at_changes"] == pytest.approx(right[turns].mean())
    correlation = np.mean([spearman(d, r) for d, r in zip(np.split(steps, 3), np.split(remaining, 3))])
    assert said["rank_correlation"]["mean"] == pytest.approx(correlation, abs=0.02)
    assert f"{said['action_error']['dx']['mean']:.2f}" in page.read_text()


def test_the_rank_of_the_true_goal_counts_the_nearer_ones() -> None:
    steps = np.array([[3.0, 4.0, 5.0, 9.0], [3.0, 1.0, 2.0, 3.0], [9.0, 1.0, 2.0, 3.0]])
    retrieved = measure.Retrieval(np.arange(3), np.zeros((3, 4), int), steps)
    assert retrieved.ranks.tolist() == [1, 3, 4]


class Knowing:
    """Stands for a critic that knows how far each frame of a store lies from its own episode's end, and no other."""

    def __init__(self, store: EpisodeStore) -> None:
        self.store, self.camera = store, 0

    frames_of = measure.Judge.frames_of
    _kind = "pixels"

    def ask(self, frames: np.ndarray, goals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        episode = [np.searchsorted(self.store.episode_ends, each, side="right") for each in (frames, goals)]
        steps = np.where(episode[0] == episode[1], np.abs(goals - frames), 50.0 + frames % 3)
        return self.store.actions[frames].astype(float), steps.astype(float)

    def steps(self, frames: np.ndarray, goals: np.ndarray) -> np.ndarray:
        return self.ask(frames, goals)[1]


@pytest.mark.parametrize("agent", [name for name in AGENTS if name not in ("gcbc", "crl", "cmd", "tra")])
def test_the_distance_alone_is_that_beside_an_action_and_encodes_each_picture_once(
    agent, run, synthetic_store, monkeypatch
) -> None:
    folder = run(agent=agent)
    asked: list[int] = []
    encode = ImageEncoder.forward

    def counted(self, images, *films):
        asked.append(len(images) if self.channels == 3 else 0)
        return encode(self, images, *films)

    monkeypatch.setattr(ImageEncoder, "forward", counted)
    trained, _, metadata = load_run(folder)
    judge = measure.Judge(trained, metadata, EpisodeStore.open(synthetic_store))
    frames, goals = np.repeat(np.arange(5), 12), np.tile(np.arange(12, 24), 5)
    _, beside = judge.ask(frames, goals)
    np.testing.assert_allclose(judge.steps(frames, goals), beside, rtol=1e-5)
    encoders = sum(isinstance(m, ImageEncoder) and m.channels == 3 for m in set(trained.modules()))
    assert sum(asked) <= 17 * encoders + len(asked)  # where nothing is new, one picture all the same
    before = len(asked)
    plain = [trained.deployed(*(torch.from_numpy(judge.store.images(each)) for each in (frames, goals)))[1]]
    assert len(asked) > before
    np.testing.assert_allclose(plain[0].detach().numpy(), beside, rtol=1e-4, atol=1e-5)


def test_a_critic_that_knows_finds_the_goal_and_has_no_error(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [made_episode(k, 30) for k in range(12)])
    judge, rng = Knowing(store), np.random.default_rng(0)
    found = measure.answers(judge, np.arange(12))
    retrieved = measure.retrieval(judge, found, rng)
    said = measure.figures(found, retrieved, rng)
    assert said["rank_correlation"]["mean"] == pytest.approx(1.0)
    assert said["retrieval"]["candidates"] == 256 and said["retrieval"]["queries"] == 32
    assert (said["retrieval"]["first"], said["retrieval"]["median_rank"]) == (1.0, 1.0)
    assert said["gripper"]["accuracy"] == 1.0 and said["gripper"]["accuracy_at_changes"] in (1.0, None)
    assert all(each["mean"] == 0.0 < each["of_the_mean_action"] for each in said["action_error"].values())
    owner = np.searchsorted(store.episode_ends, retrieved.goals, side="right")
    asking = np.searchsorted(store.episode_ends, retrieved.frames, side="right")
    assert (owner[:, 0] == asking).all() and (owner[:, 1:] != asking[:, None]).all()
    assert all(len(set(row)) == 256 for row in retrieved.goals.tolist())


def test_one_held_out_episode_has_no_other_goals(run, tmp_path) -> None:
    folder = run()
    kept = write_store(tmp_path / "kept", [made_episode(0, 9, size=32)], image_size=32, domain="sim")
    page, figures = write_report(folder, held_out=kept.path)
    assert figures["retrieval"] is None and figures["rank_correlation"] is not None
    assert "there are no other goals" in page.read_text()


def test_the_nearest_goals_are_not_shown_as_the_farthest(run, tmp_path) -> None:
    folder = run()
    kept = write_store(tmp_path / "kept", [made_episode(k, 3, size=32) for k in range(2)], image_size=32, domain="sim")
    said = write_report(folder, held_out=kept.path)[0].read_text()
    assert said.count("nearest: ") == 4 * 3 and said.count("farthest: ") == 0  # of the own goal and three others


def test_an_interval_is_wider_where_fewer_episodes_witness() -> None:
    rng = np.random.default_rng(0)
    values, frames = rng.normal(size=40).repeat(10), np.arange(400)
    by_episode = measure.interval(values, frames // 10, np.random.default_rng(1))
    by_frame = measure.interval(values, frames, np.random.default_rng(1))
    assert by_episode[1] - by_episode[0] > 2 * (by_frame[1] - by_frame[0])
    assert by_episode[0] < values.mean() < by_episode[1]


@pytest.mark.parametrize("keys", [{"agent": "gcbc"}, {"observation": "state"}])
def test_other_runs_have_a_page_too(keys, run, capsys) -> None:
    folder = run(**keys)
    assert main(["report", str(folder)]) == 0
    assert "mean action error on 3 held-out episodes: dx" in capsys.readouterr().out
    page = (folder / "report.html").read_text()
    assert ("no critic" in page) == (keys.get("agent") == "gcbc")


def test_the_page_fetches_nothing_and_shows_pictures_and_curves(run, tmp_path) -> None:
    folder = run()
    page, _ = write_report(folder, tmp_path / "page.html")
    said = page.read_text()
    assert not re.findall(r'(?:src|href)="(?!data:image/)[^"]*"|https?://|@import|url\(', said)
    assert said.count('src="data:image/jpeg;base64,') > 20 and said.count("<polyline") >= 4
    assert write_report(folder, tmp_path / "page.html")[0] == page  # its own page is replaced


def test_a_run_that_cannot_be_told_of_is_refused_by_name(run, synthetic_store, tmp_path, capsys) -> None:
    def refused(*words: object) -> str:
        assert main(["report", *map(str, words)]) == 1
        return capsys.readouterr().err.splitlines()[-1]

    assert f"{tmp_path / 'none'} is not a run folder: config.yaml is missing" in refused(tmp_path / "none")
    assert "is not a run folder: config.yaml is missing" in refused(synthetic_store.parent)
    folder = run()
    other = write_store(tmp_path / "other", [made_episode(0, size=32)], image_size=32)
    assert "is not the data of this run" in refused(folder, "--data", other.path)
    assert "leave out one" in refused(folder, "--data", other.path, "--held-out", other.path)
    assert "shares 6 episodes with the data of this run" in refused(folder, "--held-out", synthetic_store)
    assert "is no page" not in refused(folder, "--checkpoint", "step_00000099")
    (tmp_path / "notes.html").write_text("mine")
    assert "notes.html exists and is no web page of mqe" in refused(folder, "--out", tmp_path / "notes.html")
    moved = json.loads((folder / "metadata.json").read_text())
    moved["data"]["path"] = str(tmp_path / "gone")
    (folder / "metadata.json").write_text(json.dumps(moved))
    assert f"is gone from {tmp_path / 'gone'}: say where it is with --data" in refused(folder)
    assert main(["report", str(folder), "--data", str(synthetic_store)]) == 0
    (folder / "metadata.json").write_text("{}")
    assert "metadata.json" in refused(folder)
    shutil.rmtree(folder / "checkpoints")
    assert refused(folder)


def test_a_run_that_holds_nothing_out_asks_for_episodes(run, tmp_path, capsys) -> None:
    folder = run(validation_fraction=0.0)
    assert main(["report", str(folder)]) == 1
    assert "holds out no episodes" in capsys.readouterr().err
    kept = write_store(tmp_path / "kept", [made_episode(k, 9, size=32) for k in range(2)], image_size=32, domain="sim")
    assert main(["report", str(folder), "--held-out", str(kept.path)]) == 0
    assert figures_of(folder / "report.html")["episodes"] == 2


def test_a_name_is_text_whatever_it_holds(run, tmp_path) -> None:
    strange = tmp_path / "<b>&amp;</script>"
    strange.parent.mkdir(parents=True, exist_ok=True)
    run().rename(tmp_path / "plain")
    shutil.copytree(tmp_path / "plain", strange)
    page, _ = write_report(strange)
    assert "<b>&amp;</script>" not in page.read_text().replace("\\u003c", "<!")
    assert figures_of(page)["run"] == str(strange)
