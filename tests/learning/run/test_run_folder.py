"""What a run folder holds, how it is read again, and what is refused or kept where something broke."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.files.disk import write_atomically
from mqe_core.learning.run.checkpoint import MetricsTable, load_checkpoint
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.run_folder import load_run
from mqe_core.learning.run.train import resume, train
from mqe_core.learning.run.trainer import Trainer

Config = Callable[..., RunConfig]


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
    assert (steps is not None) == (metadata["discount"] is not None) == (agent not in ("gcbc", "tra", "crl", "cmd"))
    if steps is not None:
        assert steps.shape == (3,) and (steps >= 0).all() and steps.isfinite().all()
    if agent in ("mqe", "qrl"):  # a quasimetric; a value is none, and TMD's is not quite 0 at the goal
        assert (steps[[0, 2]] > 0).all() and to_itself.abs().max() < 1e-4
    assert not torch.equal(action, earlier)


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
    resume(synthetic_store, tmp_path / "run", tiny_config(steps=4, **config), progress=False)
    for checkpoint in ("latest", "step_00000004"):
        loaded = load_run(tmp_path / "run", checkpoint)[0].actor.head.network.head.weight
        torch.testing.assert_close(loaded, expected, rtol=1e-6, atol=1e-8)
        assert not torch.equal(loaded, trainer.agent.actor.head.network.head.weight)


def test_an_existing_run_is_not_overwritten(synthetic_store: Path, tmp_path: Path, tiny_config: Config) -> None:
    train(synthetic_store, tmp_path / "run", tiny_config(), progress=False)
    with pytest.raises(ValueError, match="--resume"):
        train(synthetic_store, tmp_path / "run", tiny_config(), progress=False)


def test_resume_refuses_other_data_and_other_folders(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config
) -> None:
    with pytest.raises(ValueError, match="not a run folder"):
        resume(synthetic_store, tmp_path / "nothing", tiny_config(), progress=False)
    train(synthetic_store, tmp_path / "run", tiny_config(observation="state"), progress=False)
    with EpisodeWriter(tmp_path / "other", image_size=8) as writer:
        writer.add(Episode("other", np.zeros((5, 7)), np.ones((4, 7))))
    with pytest.raises(ValueError, match="other data"):
        resume(tmp_path / "other", tmp_path / "run", tiny_config(), progress=False)


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

    monkeypatch.setattr("mqe_core.files.disk.os.fsync", no_space)
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


def test_a_table_of_an_earlier_version_gains_columns(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\n1,2\n2,3\n")
    table = MetricsTable(path, last_step=1)
    table.append(2, {"loss": 4.0, "actor/q_loss": 1.0})
    assert path.read_text() == "step,loss,actor/q_loss\n1,2,\n2,4,1\n"
    with pytest.raises(RuntimeError, match="every row needs the same metrics"):
        table.append(3, {"loss": 4.0, "actor/q_loss": 1.0, "other": 1.0})


def test_a_full_disk_keeps_the_run_and_says_how_to_go_on(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second checkpoint does not fit any more."""
    run, config = tmp_path / "run", tiny_config(steps=4, checkpoint_every=2)
    replace, checkpoints = os.replace, []

    def full_at_the_second(old: str, new: Path) -> None:
        if Path(new).name == "latest.pt":
            checkpoints.append(new)
            if len(checkpoints) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
        replace(old, new)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full_at_the_second)
        with pytest.raises(
            OSError,
            match=rf"latest.pt cannot be written: No space left .* continue with mqe train --resume --out {run}",
        ):
            train(synthetic_store, run, config, progress=False)
    assert load_checkpoint(run / "checkpoints" / "latest.pt")["step"] == 2
    assert not list(run.rglob("*.tmp"))
    assert resume(synthetic_store, run, config, progress=False)


def test_a_training_that_ended_before_its_folder_was_complete_begins_again(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, replace = tmp_path / "run", os.replace

    def killed_before_the_last_file(old: str, new: Path) -> None:
        if Path(new).name == "config.yaml":
            raise KeyboardInterrupt
        replace(old, new)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", killed_before_the_last_file)
        with pytest.raises(KeyboardInterrupt):
            train(synthetic_store, run, tiny_config(steps=1), progress=False)
    assert train(synthetic_store, run, tiny_config(steps=1), progress=False)
    with pytest.raises(ValueError, match="already holds a run: add --resume"):
        train(synthetic_store, run, tiny_config(steps=1), progress=False)
