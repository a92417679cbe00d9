"""The side terms of a critic that is to choose: who is a candidate, what they move, and what they teach."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mqe_core.learning.networks.critic_contrast import Origin, own_is_nearest
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.trainer import Trainer
from tests.learning.networks.scene_stores import store_of

Config = Callable[..., RunConfig]
TERMS = ("action_contrast", "goal_contrast", "scene_contrast")


@torch.no_grad()
def scene_contrast(trainer: Trainer) -> float:
    batch = trainer.data.sample(np.random.default_rng(0), trainer.agent.frames)
    return float(trainer.agent.loss(batch)[1]["critic/scene_contrast"])


def test_a_goal_is_no_candidate_where_it_can_be_reached() -> None:
    """Rows of two scenes; the first begins at frames 3 and 12 of a scene whose goals lie at 8 and 20."""
    origin = Origin(torch.tensor([0, 0, 1]), torch.tensor([3, 12, 30]), torch.tensor([8, 20, 40]))
    assert origin.same_scene().tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    assert origin.ahead().tolist() == [[True, True, False], [False, True, False], [False, False, True]]


def test_what_is_masked_has_no_say_and_the_own_candidate_never_is() -> None:
    distance = torch.rand(2, 3, 3, requires_grad=True)
    own, masked = torch.arange(3), torch.ones(3, 3, dtype=torch.bool)
    masked[0, 1] = False
    loss, _ = own_is_nearest(distance, own, masked)
    loss.backward()
    moved = distance.grad != 0
    assert moved[:, 0].tolist() == [[True, True, False]] * 2 and not moved[:, 1:].any()
    assert distance.grad[0, 0, 0] > 0 > distance.grad[0, 0, 1], "the own one comes nearer, the other goes away"
    alone, _ = own_is_nearest(distance.detach()[:, :1, :2], own[:1])
    assert loss.item() == pytest.approx(alone.item() / 3, rel=1e-5), "rows without others add nothing"


@pytest.mark.parametrize("term", TERMS)
def test_each_term_is_a_part_of_the_loss(tmp_path: Path, tiny_config: Config, term: str) -> None:
    """It moves the critic alone, and without it nothing is as if it had never been there."""
    store = store_of(tmp_path / "store", 4)
    plain, with_term = (
        Trainer(store, tiny_config(observation="state", validation_fraction=0.0, **keys), progress=False)
        for keys in ({}, {term: 0.5})
    )
    batches = [trainer.data.sample(np.random.default_rng(0), trainer.agent.frames) for trainer in (plain, with_term)]
    assert batches[0].origin is None and batches[1].origin is not None
    (loss, metrics), (other, more) = (trainer.agent.loss(batch) for trainer, batch in zip((plain, with_term), batches))
    assert more.keys() - metrics.keys() == {f"critic/{term}"}
    assert other.item() == pytest.approx(loss.item() + 0.5 * more[f"critic/{term}"].item(), rel=1e-5)
    (other - loss.detach()).backward()
    names = {name.split(".")[0] for name, value in with_term.agent.named_parameters() if value.grad is not None}
    assert {"phi", "psi"} <= names
    with pytest.raises(ValueError, match=f"{term} must not be negative"):
        tiny_config(**{term: -0.1})


def test_goals_of_other_scenes_become_far(tmp_path: Path, tiny_config: Config) -> None:
    keys = {"observation": "state", "validation_fraction": 0.0, "scene_contrast": 0.1, "learning_rate": 3e-3}
    trainer = Trainer(store_of(tmp_path / "store", 4), tiny_config(**keys, batch_size=32), progress=False)
    before = scene_contrast(trainer)
    for _ in range(80):
        trainer.update()
    assert scene_contrast(trainer) < 0.5 * before


def test_data_of_one_scene_trains_with_a_warning(
    tmp_path: Path, tiny_config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(tmp_path / "store", 1)
    for keys, warns in (({}, False), ({"scene_contrast": 0.1}, True)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            trainer = Trainer(store, tiny_config(observation="state", validation_fraction=0.0, **keys), progress=False)
            trainer.update()
        assert ("one scene" in caplog.text) == warns
    assert scene_contrast(trainer) == 0.0
