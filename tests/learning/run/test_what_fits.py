"""Promise: where a GPU's memory takes no update, the error says which batch does. No GPU is needed: one that is full is
told of by the exception that torch raises.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.ranks.ranks import Ranks
from mqe_core.learning.rows.augmentation import ShiftAugmentation
from mqe_core.learning.rows.pixels import PixelObservations
from mqe_core.learning.run import trainer as module
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.train import train
from mqe_core.learning.run.trainer import Trainer

Config = Callable[..., RunConfig]
CARD = "a card (4 GiB)"


def full_beyond(most: int, agent: torch.nn.Module, tried: list[int]) -> None:
    """Its loss takes so many rows."""
    loss = agent.loss

    def bounded(batch):
        tried.append(len(batch.actions))
        if len(batch.actions) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return loss(batch)

    agent.loss = bounded


@pytest.mark.parametrize(
    ("most", "tried", "words"),
    [
        (
            3,
            [8, 4, 2],
            rf"a batch of 8 rows does not fit into the memory of {CARD}: 2 rows did. Keep it with pictures_at_once",
        ),
        (7, [8, 4], "4 rows did.* or on several GPUs .*, set batch_size to 4"),
        (0, [8, 4, 2, 1], "not even one row of a batch fits"),
    ],
)
@pytest.mark.parametrize("keys", [{}, {"actor_goals_crossed": True, "actor_fusion": "late"}])
def test_a_batch_that_does_not_fit_is_told_with_one_that_does(
    keys, most, tried, words, synthetic_store: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "card_of", lambda device: CARD)
    trainer = Trainer(EpisodeStore.open(synthetic_store), tiny_config(**keys), progress=False)
    before = [parameter.clone() for parameter in trainer.agent.parameters()]
    asked: list[int] = []
    full_beyond(most, trainer.agent, asked)
    with pytest.raises(RuntimeError, match=words.replace("(4 GiB)", r"\(4 GiB\)")):
        trainer.update()
    assert asked == tried and trainer.step == 0
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.agent.parameters()))


def test_ranks_are_told_without_trying(
    synthetic_store: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "card_of", lambda device: CARD)
    trainer = Trainer(EpisodeStore.open(synthetic_store), tiny_config(), progress=False)
    asked: list[int] = []
    full_beyond(0, trainer.agent, asked)
    trainer.ranks = Ranks(1, 2)
    with pytest.raises(RuntimeError, match="8 rows on 2 ranks does not fit into .*: start more ranks"):
        trainer.update()
    assert asked == [8]


def test_a_run_ends_so_before_its_first_update(
    synthetic_store: Path, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "card_of", lambda device: CARD)
    make = Trainer.__init__

    def full(self, *args, **keys) -> None:
        make(self, *args, **keys)
        full_beyond(3, self.agent, [])

    monkeypatch.setattr(Trainer, "__init__", full)
    with pytest.raises(RuntimeError, match="set batch_size to 2"):
        train(synthetic_store, tmp_path / "run", tiny_config(), progress=False)
    assert not list(tmp_path.rglob("*.pt"))


def test_the_first_rows_of_a_batch_are_what_they_were_in_it(synthetic_store: Path, tiny_config: Config) -> None:
    keys = {"actor_goals_crossed": True, "actor_fusion": "late", "landmark_weight": 1.0}
    trainer = Trainer(EpisodeStore.open(synthetic_store), tiny_config(**keys), progress=False)
    batch = trainer.data.sample(np.random.default_rng(0), trainer.agent.frames)
    part = batch.first(3)
    for whole, few in zip(batch.tensors(), part.tensors(), strict=True):
        if whole is not batch.actor_pairs:
            assert torch.equal(whole[:3], few)
    pairs = {tuple(pair) for pair in batch.actor_pairs.tolist()}
    kept = {tuple(pair) for pair in part.actor_pairs.tolist()}
    assert kept == {pair for pair in pairs if max(pair) < 3} and {(0, 0), (1, 1), (2, 2)} <= kept < pairs


def test_images_that_a_gpu_cannot_hold_are_refused_before_any_is_decoded(
    synthetic_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EpisodeStore.open(synthetic_store)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**17, 2**32))
    monkeypatch.setattr(EpisodeStore, "images", lambda *_, **__: pytest.fail("an image was decoded"))
    with pytest.raises(ValueError, match="images take 0 MB, and the GPU has 0 MB free: set image_memory_mb to less"):
        PixelObservations(
            store,
            0,
            4096.0,
            augmentation=ShiftAugmentation(0.0, 3, 0.0),
            progress=False,
            device=torch.device("cuda"),
        )
