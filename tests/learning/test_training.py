"""Training is repeatable, resumes bit for bit, survives Ctrl-C, and refuses what does not fit."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mqe_core.data.episode_store import Episode, EpisodeStore, EpisodeWriter
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.checkpoint import load_checkpoint, write_atomically
from mqe_core.learning.train import action_scale, load_run, train
from mqe_core.learning.trainer import RunConfig, Trainer

Config = Callable[..., RunConfig]


@pytest.fixture(params=sorted(AGENTS))
def agent(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["pixels", "state"])
def observation(request: pytest.FixtureRequest) -> str:
    return request.param


def same_weights(a: Path, b: Path) -> bool:
    first, second = (load_checkpoint(run / "checkpoints" / "latest.pt") for run in (a, b))
    names = first["agent"].keys()
    return names == second["agent"].keys() and all(
        torch.equal(first["agent"][name], second["agent"][name]) for name in names
    )


def test_two_runs_with_one_seed_are_equal(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, observation: str
) -> None:
    config = tiny_config(observation=observation, augment_probability=0.5, validation_fraction=0.2)
    for name in ("first", "second"):
        assert train(synthetic_store, tmp_path / name, config, progress=False)
    metrics = (tmp_path / "first" / "metrics.csv").read_bytes()
    assert metrics == (tmp_path / "second" / "metrics.csv").read_bytes()
    assert same_weights(tmp_path / "first", tmp_path / "second")
    other = tiny_config(observation=observation, augment_probability=0.5, validation_fraction=0.2, seed=1)
    train(synthetic_store, tmp_path / "other", other, progress=False)
    assert metrics != (tmp_path / "other" / "metrics.csv").read_bytes()


def test_images_that_lie_in_tensors_give_the_same_batch(synthetic_store: Path, tiny_config: Config) -> None:
    """As they lie in a GPU's memory."""
    config = tiny_config(observation="pixels", augment_probability=1.0, augment_colour=0.2)
    arrays, tensors = (Trainer(EpisodeStore.open(synthetic_store), config, progress=False) for _ in range(2))
    tensors.observations._cache = torch.from_numpy(tensors.observations._cache)
    batch, other = (trainer.sample(trainer.transitions, np.random.default_rng(0)) for trainer in (arrays, tensors))
    for name, value in vars(batch).items():
        assert value is None or torch.equal(value, getattr(other, name)), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_trains_and_its_run_loads_without_one(synthetic_store: Path, tmp_path: Path, tiny_config: Config) -> None:
    config = tiny_config(
        device="cuda", observation="pixels", encoder="residual", encoder_bfloat16=True, augment_probability=1.0
    )
    assert train(synthetic_store, tmp_path / "run", config, progress=False)
    agent, _, _ = load_run(tmp_path / "run")
    assert next(agent.parameters()).device.type == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_asking_for_a_gpu_where_none_is_says_so(synthetic_store: Path, tiny_config: Config) -> None:
    with pytest.raises(ValueError, match="torch sees no GPU"):
        Trainer(EpisodeStore.open(synthetic_store), tiny_config(device="cuda"), progress=False)


def test_two_steps_and_resume_equal_four_steps(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, observation: str, agent: str
) -> None:
    """Bit for bit: weights, optimiser, random state and metrics, with log lines that straddle the interruption."""
    keys = {
        "agent": agent,
        "observation": observation,
        "augment_probability": 0.5,
        "schedule": "constant",
        "log_every": 3,
    }
    train(synthetic_store, tmp_path / "whole", tiny_config(steps=6, **keys), progress=False)
    train(synthetic_store, tmp_path / "parts", tiny_config(steps=2, **keys), progress=False)
    train(synthetic_store, tmp_path / "parts", tiny_config(steps=6, **keys), resume=True, progress=False)
    whole, parts = (load_checkpoint(tmp_path / name / "checkpoints" / "latest.pt") for name in ("whole", "parts"))
    assert parts["step"] == whole["step"] == 6
    assert parts["numpy_rng"] == whole["numpy_rng"]
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    for index, state in whole["optimiser"]["state"].items():
        assert all(torch.equal(value, parts["optimiser"]["state"][index][name]) for name, value in state.items())
    assert (tmp_path / "whole" / "metrics.csv").read_bytes() == (tmp_path / "parts" / "metrics.csv").read_bytes()


def test_resume_after_a_crash_repeats_the_lost_steps(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config
) -> None:
    """Rows past the checkpoint, and a row that the crash cut, are replaced by the same numbers."""
    train(synthetic_store, tmp_path / "run", tiny_config(steps=4, snapshot_every=2), progress=False)
    complete = (tmp_path / "run" / "metrics.csv").read_bytes()
    train(synthetic_store, tmp_path / "crashed", tiny_config(steps=2), progress=False)
    (tmp_path / "crashed" / "metrics.csv").write_bytes(complete[:-20])
    train(synthetic_store, tmp_path / "crashed", tiny_config(steps=4), resume=True, progress=False)
    assert (tmp_path / "crashed" / "metrics.csv").read_bytes() == complete


def test_interrupt_leaves_a_usable_checkpoint(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Trainer.update

    def update_and_press_ctrl_c(self: Trainer) -> None:
        update(self)
        if self.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "update", update_and_press_ctrl_c)
    assert train(synthetic_store, tmp_path / "run", tiny_config(steps=6, checkpoint_every=100), progress=False) is False
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "latest.pt")["step"] == 3
    monkeypatch.setattr(Trainer, "update", update)
    assert train(synthetic_store, tmp_path / "run", tiny_config(steps=6), resume=True, progress=False) is True
    train(synthetic_store, tmp_path / "whole", tiny_config(steps=6), progress=False)
    assert same_weights(tmp_path / "run", tmp_path / "whole")


def test_a_run_folder_holds_what_the_docs_say(synthetic_store: Path, tmp_path: Path, tiny_config: Config) -> None:
    run = tmp_path / "run"
    train(synthetic_store, run, tiny_config(snapshot_every=2), progress=False)
    assert {path.name for path in (run / "checkpoints").iterdir()} == {
        "latest.pt",
        "step_00000002.pt",
        "step_00000004.pt",
    }
    assert list((run / "tensorboard").glob("events.out.tfevents.*"))
    with open(run / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert {"loss", "critic/backup_loss", "critic/action_invariance_loss", "actor/bc_loss", "actor/q_mean"} <= rows[
        0
    ].keys()
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())


def test_load_run_gives_the_trained_policy(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, observation: str, agent: str
) -> None:
    config = tiny_config(agent=agent, observation=observation, snapshot_every=2)
    train(synthetic_store, tmp_path / "run", config, progress=False)
    trained, loaded, metadata = load_run(tmp_path / "run")
    assert loaded == config
    store = EpisodeStore.open(synthetic_store)
    assert metadata["data"]["fingerprint"] == store.fingerprint
    assert metadata["step"] == 4
    frames = np.arange(3)
    inputs = store.images(frames) if observation == "pixels" else store.states[frames]
    inputs = torch.from_numpy(inputs)
    with torch.no_grad():
        action, steps = trained.policy_module()(inputs, inputs.flip(0))
        _, to_itself = trained.policy_module()(inputs, inputs)
        earlier, _ = load_run(tmp_path / "run", "step_00000002")[0].policy_module()(inputs, inputs.flip(0))
    assert action.shape == (3, 7) and action.abs().max() <= 1.0
    assert (steps is not None) == (metadata["discount"] is not None) == (agent in ("mqe", "gciql"))
    if steps is not None:
        assert steps.shape == (3,) and (steps >= 0).all() and steps.isfinite().all()
    if agent == "mqe":  # a quasimetric; the value of GCIQL is none
        assert (steps[[0, 2]] > 0).all() and to_itself.abs().max() < 1e-4
    assert not torch.equal(action, earlier)


def test_state_training_fits_the_actions(tmp_path: Path, tiny_config: Config) -> None:
    """Behaviour cloning of an action that the state and goal determine: the error falls far below that of the mean action."""
    rng = np.random.default_rng(0)
    with EpisodeWriter(tmp_path / "store", image_size=8) as writer:
        for episode in range(30):
            position, goal = rng.uniform(0, 1, 3), rng.uniform(0, 1, 3)
            states, actions = [], []
            for _ in range(12):
                states.append([*position, 0, 0, 0, 1])
                actions.append([*(0.2 * (goal - position)), 0, 0, 0, 1])
                position = position + actions[-1][:3]
            writer.add(Episode(f"episode{episode}", np.array(states), np.array(actions[:-1])))
    config = tiny_config(steps=300, batch_size=64, log_every=50, hidden_dims=[64, 64], learning_rate=3e-3, alpha=3.0)
    assert config.train.observation == "auto"  # no images in the store: states
    train(tmp_path / "store", tmp_path / "run", config, progress=False)
    with open(tmp_path / "run" / "metrics.csv") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows[-1]["actor/action_mse"] < 0.3 * rows[0]["actor/action_mse"]
    agent, _, metadata = load_run(tmp_path / "run")
    store = EpisodeStore.open(tmp_path / "store")
    start, end = 0, 10  # first and last valid frame of the first episode
    with torch.no_grad():
        policy = agent.policy_module()
        _, far = policy(torch.from_numpy(store.states[[start]]), torch.from_numpy(store.states[[end]]))
        _, near = policy(torch.from_numpy(store.states[[end - 1]]), torch.from_numpy(store.states[[end]]))
    assert far.item() > near.item() > 0
    scale = action_scale(metadata)
    np.testing.assert_array_equal(scale.low[-1:], [0.0])
    np.testing.assert_array_equal(scale.high[-1:], [1.0])


def test_averaged_weights_are_what_a_run_loads(synthetic_store: Path, tmp_path: Path, tiny_config: Config) -> None:
    """The mean follows decay * mean + (1 - decay) * weights, is continued by a resume, and is what load_run gives."""
    config = {"observation": "state", "average_decay": 0.25, "snapshot_every": 2}
    trainer = Trainer(EpisodeStore.open(synthetic_store), tiny_config(**config), progress=False)
    expected = trainer.agent.actor.head.network.head.weight.detach().clone()
    for step in range(1, 5):
        trainer.update()
        decay = min(0.25, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * trainer.agent.actor.head.network.head.weight.detach()

    train(synthetic_store, tmp_path / "run", tiny_config(steps=2, **config), progress=False)
    train(synthetic_store, tmp_path / "run", tiny_config(steps=4, **config), resume=True, progress=False)
    for checkpoint in ("latest", "step_00000004"):
        loaded = load_run(tmp_path / "run", checkpoint)[0].actor.head.network.head.weight
        torch.testing.assert_close(loaded, expected, rtol=1e-6, atol=1e-8)
        assert not torch.equal(loaded, trainer.agent.actor.head.network.head.weight)


def test_images_decoded_at_each_use_give_the_same_run(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config
) -> None:
    train(synthetic_store, tmp_path / "cached", tiny_config(), progress=False)
    train(synthetic_store, tmp_path / "decoded", tiny_config(image_memory_mb=0.0), progress=False)
    assert same_weights(tmp_path / "cached", tmp_path / "decoded")


def test_pixel_training_leaves_out_episodes_without_images(tmp_path: Path, tiny_config: Config) -> None:
    rng = np.random.default_rng(0)
    with EpisodeWriter(tmp_path / "store", image_size=16) as writer:
        for episode in range(4):
            frames = {0: [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(6)]} if episode % 2 else {}
            writer.add(Episode(f"episode{episode}", rng.normal(size=(6, 7)), rng.normal(size=(5, 7)), frames))
    trainer = Trainer(EpisodeStore.open(tmp_path / "store"), tiny_config(observation="pixels"), progress=False)
    assert set(trainer.transitions.indices) == {*range(6, 11), *range(18, 23)}
    trainer.update()


def test_an_existing_run_is_not_overwritten(synthetic_store: Path, tmp_path: Path, tiny_config: Config) -> None:
    train(synthetic_store, tmp_path / "run", tiny_config(), progress=False)
    with pytest.raises(ValueError, match="--resume"):
        train(synthetic_store, tmp_path / "run", tiny_config(), progress=False)


def test_resume_refuses_other_data_and_other_folders(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config
) -> None:
    with pytest.raises(ValueError, match="not a run folder"):
        train(synthetic_store, tmp_path / "nothing", tiny_config(), resume=True, progress=False)
    train(synthetic_store, tmp_path / "run", tiny_config(observation="state"), progress=False)
    with EpisodeWriter(tmp_path / "other", image_size=8) as writer:
        writer.add(Episode("other", np.zeros((5, 7)), np.ones((4, 7))))
    with pytest.raises(ValueError, match="other data"):
        train(tmp_path / "other", tmp_path / "run", tiny_config(), resume=True, progress=False)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Trainer.update

    def break_third_update(self: Trainer) -> None:
        if self.step == 2:
            with torch.no_grad():
                self.agent.actor.head.network.head.weight.fill_(float("nan"))
        update(self)

    monkeypatch.setattr(Trainer, "update", break_third_update)
    with pytest.raises(RuntimeError, match="loss is nan at step 2"):
        train(synthetic_store, tmp_path / "run", tiny_config(), progress=False)
    state = load_checkpoint(tmp_path / "run" / "checkpoints" / "latest.pt")
    assert state["step"] == 2 and all(torch.isfinite(value).all() for value in state["agent"].values())


def test_a_crash_while_writing_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "latest.pt"
    write_atomically(path, b"old")

    def no_space(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("mqe_core.learning.checkpoint.os.fsync", no_space)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_of_other_networks_is_refused_with_the_remedy(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config
) -> None:
    train(synthetic_store, tmp_path / "run", tiny_config(observation="state"), progress=False)
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("latent_dim: 16", "latent_dim: 32"))
    with pytest.raises(ValueError, match="does not fit the networks.*train again"):
        load_run(tmp_path / "run")


def test_a_damaged_checkpoint_is_refused_with_the_remedy(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config
) -> None:
    train(synthetic_store, tmp_path / "run", tiny_config(observation="state"), progress=False)
    path = tmp_path / "run" / "checkpoints" / "latest.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        load_run(tmp_path / "run")
    metadata = json.loads((tmp_path / "run" / "metadata.json").read_text())
    (tmp_path / "run" / "metadata.json").write_text(json.dumps({**metadata, "schema": 99}))
    with pytest.raises(ValueError, match="schema 99"):
        load_run(tmp_path / "run")
