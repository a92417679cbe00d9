"""Promise: every option of an agent trains, from states and from pixels, and draws and moves what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.networks.values import REWARDS, ValueConfig, one_step_target, steps_of_value
from mqe_core.learning.rows.goal_sampling import TransitionIndex
from mqe_core.learning.run.checkpoint import load_checkpoint
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.run_folder import load_run
from mqe_core.learning.run.train import resume, train
from mqe_core.learning.run.trainer import Trainer

Config = Callable[..., RunConfig]

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((agent, {"head": "mrn_paper"}) for agent in ("mqe", "tmd", "cmd", "qrl")),
    *((agent, {"head": "iqe", "component_dim": 4}) for agent in ("mqe", "tmd", "cmd")),
    ("qrl", {"head": "mrn", "actor_loss": "awr"}),
    *((agent, {"actor_loss": "awr", "actor_learns_std": True}) for agent in ("gciql", "crl", "qrl")),
    ("gcivl", {"reward": "at_goal", "actor_learns_std": True}),
    ("hiql", {"reward": "at_goal", "actor_learns_std": True}),
    ("nsacbc", {"q_loss": "squared", "reward": "per_step", "actor_squashed": False, "actor_learns_std": True}),
    ("tmd", {"actor_sees_psi": True, "actor_trains_psi": False}),
    ("tmd", {"actor_sees_psi": True, "actor_learns_std": True}),
    ("mqe", {"expectile": 0.9, "waypoint": "uniform", "normalise_q": False, "actor_goal_geometric": True}),
    ("gcbc", {"actor_goal_geometric": True, "discount": 0.9, "actor_learns_std": True}),
]


@pytest.mark.parametrize("agent, keys", OPTIONS, ids=[f"{agent}-{'-'.join(keys)}" for agent, keys in OPTIONS])
def test_it_trains_from_states_and_pixels(
    synthetic_store: Path, tiny_config: Config, observation: str, agent: str, keys: dict[str, Any]
) -> None:
    config = tiny_config(**{"components": 2, **keys, "agent": agent, "observation": observation})
    trainer = Trainer(EpisodeStore.open(synthetic_store), config, progress=False)
    before = [parameter.detach().clone() for parameter in trainer.agent.parameters() if parameter.requires_grad]
    trainer.update()
    trainer.update()
    assert all(np.isfinite(value) for value in trainer.means.take().values())
    after = [parameter for parameter in trainer.agent.parameters() if parameter.requires_grad]
    still = [tuple(a.shape) for a, b in zip(before, after) if torch.equal(a, b)]
    assert len(still) <= 1, f"parameters that nothing moves: {still}"  # a last bias cancels in a difference
    frames = trainer.data.sample(np.random.default_rng(0), trainer.agent.frames).frames
    with torch.no_grad():
        action, steps = trainer.agent.deployed(frames["observation"], frames["actor_goal"])
    assert action.shape == (8, 7) and action.abs().max() <= 1.0
    assert steps is None or (steps.shape == (8,) and steps.isfinite().all())


CHAIN = TransitionIndex(np.array([True] * 39 + [False]), np.array([40]))


@pytest.mark.parametrize("agent", ["gcbc", "mqe", "crl", "gciql", "hiql", "nsacbc"])
@pytest.mark.parametrize("geometric", [False, True])
def test_actor_goals_are_uniform_or_geometric_with_the_agents_discount(
    tiny_config: Config, agent: str, geometric: bool
) -> None:
    config = tiny_config(agent=agent, discount=0.5, actor_goal_geometric=geometric).agent
    rows = config.sampler().sample(CHAIN, np.random.default_rng(0), 40_000)
    steps = rows.steps_to("actor_goal")[rows.observation < 5]
    expected = 0.5 if geometric else 0.5 / 36  # of the next frame; the ends of a uniform draw have half a weight
    assert np.mean(steps == 1) == pytest.approx(expected, abs=0.03) and steps.min() >= 1
    assert (steps.max() > 25) is not geometric


def test_nsac_draws_geometric_actor_goals_and_uniform_value_goals(tiny_config: Config) -> None:
    config = tiny_config(agent="nsacbc", discount=0.5).agent
    rows = config.sampler().sample(CHAIN, np.random.default_rng(0), 40_000)
    early = rows.observation < 5
    assert np.mean(rows.steps_to("actor_goal")[early] == 1) == pytest.approx(0.5, abs=0.03)
    assert np.mean(rows.steps_to("value_goal")[early] == 1) == pytest.approx(0.5 * 0.5 / 36 + 0.3 / 39, abs=0.01)


@pytest.mark.parametrize("reward", REWARDS)
def test_both_rewards_tell_the_same_steps(reward: str) -> None:
    config = ValueConfig(discount=0.9, reward=reward)
    value = torch.tensor([1.0 if reward == "at_goal" else 0.0])
    for _ in range(3):
        value = torch.cat([value[:1], one_step_target(value, torch.zeros(len(value), dtype=torch.bool), config)])
    torch.testing.assert_close(steps_of_value(value, config), torch.arange(4.0), atol=1e-4, rtol=0)
    assert torch.equal(one_step_target(value, torch.ones(4, dtype=torch.bool), config), value[:1].expand(4))


def test_chances_have_no_reward_per_step(tiny_config: Config) -> None:
    with pytest.raises(ValueError, match="set q_loss to squared"):
        tiny_config(agent="nsacbc", reward="per_step")


@pytest.mark.parametrize("agent, policies", [("mqe", {"actor"}), ("hiql", {"low_actor", "high_actor"})])
def test_policies_may_learn_at_a_rate_of_their_own(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, agent: str, policies: set[str]
) -> None:
    keys = {"agent": agent, "observation": "state", "learning_rate": 1e-3, "actor_learning_rate": 1e-5}
    trainer = Trainer(EpisodeStore.open(synthetic_store), tiny_config(**keys), progress=False)
    before = {name: parameter.detach().clone() for name, parameter in trainer.agent.named_parameters()}
    trainer.update()
    for name, parameter in trainer.agent.named_parameters():  # Adam's first step is as long as its rate
        moved = float((parameter.detach() - before[name]).abs().max())
        own = name.split(".")[0] in policies
        assert moved <= 1.01 * (1e-5 if own else 1e-3), name
        assert not own or moved > 0.5e-5, name
    train(synthetic_store, tmp_path / "whole", tiny_config(steps=4, **keys), progress=False)
    train(synthetic_store, tmp_path / "parts", tiny_config(steps=2, **keys), progress=False)
    resume(synthetic_store, tmp_path / "parts", tiny_config(steps=4, **keys), progress=False)
    whole, parts = (load_checkpoint(tmp_path / run / "checkpoints" / "latest.pt") for run in ("whole", "parts"))
    assert all(torch.equal(value, parts["agent"][name]) for name, value in whole["agent"].items())


def test_a_run_with_another_head_loads(synthetic_store: Path, tmp_path: Path, tiny_config: Config) -> None:
    keys = {"observation": "state", "head": "iqe", "component_dim": 4}
    train(synthetic_store, tmp_path / "run", tiny_config(agent="mqe", **keys), progress=False)
    agent, config, _ = load_run(tmp_path / "run")
    assert config.agent.head == "iqe" and float(agent.head.mix) != 0.0


def test_a_negative_rate_is_refused(tiny_config: Config) -> None:
    with pytest.raises(ValueError, match="actor_learning_rate must not be negative"):
        tiny_config(actor_learning_rate=-1.0)
