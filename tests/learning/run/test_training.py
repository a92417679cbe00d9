"""Training is repeatable, resumes bit for bit, survives Ctrl-C, and refuses what does not fit."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.learning.run.checkpoint import load_checkpoint
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.run_folder import action_scale, load_run
from mqe_core.learning.run.train import resume, train
from mqe_core.learning.run.trainer import Trainer

Config = Callable[..., RunConfig]


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
    resume(synthetic_store, tmp_path / "parts", tiny_config(steps=6, **keys), progress=False)
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
    resume(synthetic_store, tmp_path / "crashed", tiny_config(steps=4), progress=False)
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
    assert resume(synthetic_store, tmp_path / "run", tiny_config(steps=6), progress=False) is True
    train(synthetic_store, tmp_path / "whole", tiny_config(steps=6), progress=False)
    assert same_weights(tmp_path / "run", tmp_path / "whole")


def test_state_training_fits_the_actions(tmp_path: Path, tiny_config: Config) -> None:
    """Behaviour cloning of an action that the state and goal determine: the error falls far below that of the mean
    action.
    """
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


def test_images_decoded_at_each_use_give_the_same_run(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config
) -> None:
    train(synthetic_store, tmp_path / "cached", tiny_config(), progress=False)
    train(synthetic_store, tmp_path / "decoded", tiny_config(image_memory_mb=0.0), progress=False)
    assert same_weights(tmp_path / "cached", tmp_path / "decoded")
