"""Promise: what may come is proposed with its modes, the critic chooses, the policy goes there: all in one graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.agents.mqe import MQEAgent
from mqe_core.learning.export.export import export_run
from mqe_core.learning.networks.proposals import ProposalConfig, ProposalFlow
from mqe_core.learning.rows import training_data
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.goal_sampling import AHEAD, TransitionIndex, WaypointSampler
from mqe_core.learning.rows.held_out import held_out_frames
from mqe_core.learning.rows.observations import ObservationSpec
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.run_folder import load_run
from mqe_core.learning.run.train import train
from mqe_core.learning.run.trainer import Trainer
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.golden_images import counter_image

Config = Callable[..., RunConfig]
STATE = ObservationSpec("state", state_dim=2)


def test_both_ways_are_proposed_and_nothing_between_them() -> None:
    """From 0 it went to the left or to the right; from 5 it went up or waited, which is no place to go to; at 9 the
    episode ended, and there it stays.
    """
    torch.manual_seed(0)
    config = ProposalConfig(proposal_steps=3, candidates=64, hidden_dims=(64, 64))
    flow, generator = ProposalFlow(config, STATE, None), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(flow.parameters(), 1e-2)
    rate = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=500)
    for _ in range(500):
        at = torch.tensor([0.0, 5.0, 9.0])[torch.randint(0, 3, (256,), generator=generator)]
        side = torch.randint(0, 2, (256,), generator=generator) * 2.0 - 1.0
        here = torch.stack([at, torch.zeros(256)], dim=-1)
        change = torch.stack([side * (at == 0), -side * (at == 0) + (side > 0) * (at == 5)], dim=-1)
        frames = {"observation": here, AHEAD: here + change}
        steps = {"observation": torch.zeros(256), AHEAD: 3.0 * (at < 9)}
        batch = Batch(frames, steps, torch.zeros(256, 1))
        loss, _ = flow.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
    with torch.no_grad():
        from_0, from_5, at_the_end = flow(torch.tensor([[0.0, 0.0], [5.0, 0.0], [9.0, 0.0]]))
    assert 0.25 < float((from_0[:, 0] > 0).float().mean()) < 0.75
    assert float((from_0[:, 0].abs() < 0.5).float().mean()) < 0.1  # of a mean of both: all
    torch.testing.assert_close(from_0[:, 1], -from_0[:, 0], atol=0.3, rtol=0)
    assert float((from_5 - torch.tensor([5.0, 1.0])).abs().max()) < 0.3
    assert float((at_the_end - torch.tensor([9.0, 0.0])).abs().max()) < 0.3


def test_what_is_proposed_lies_h_steps_ahead_or_at_the_end_of_the_episode() -> None:
    valid = np.ones(30, dtype=bool)
    valid[[9, 29]] = False
    transitions = TransitionIndex(valid, np.array([10, 30]))
    rows = WaypointSampler(0.9, 0.8, 0.2, proposal_steps=4).sample(transitions, np.random.default_rng(0), 500)
    t, end = rows.observation, np.where(rows.observation < 10, 9, 29)
    np.testing.assert_array_equal(rows.frames[AHEAD], np.minimum(t + 4, end))
    without = WaypointSampler(0.9, 0.8, 0.2).sample(transitions, np.random.default_rng(0), 500)
    assert AHEAD not in without.frames
    assert all(np.array_equal(frames, rows.frames[name]) for name, frames in without.frames.items())


def test_a_change_counts_in_its_own_size(
    tiny_config: Config, synthetic_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step is small beside the table: measured in the width of the table, the noise would drown it. Frames that are
    held out have no say, and of many frames some do for all.
    """
    store = EpisodeStore.open(synthetic_store)
    keys = {"proposal_steps": 3, "observation": "state", "validation_fraction": 0.3}
    config = tiny_config(**keys)
    trainer = Trainer(store, config, progress=False)
    held_out = held_out_frames(store, 0.3, config.train.seed)
    assert 0 < held_out.sum() < len(held_out)
    t = np.flatnonzero(store.valid & ~held_out)
    ends = store.episode_ends[np.searchsorted(store.episode_ends, t, side="right")] - 1
    changes = store.states[np.minimum(t + 3, ends)] - store.states[t]
    expected = np.sqrt(np.square(changes).mean(0))
    assert expected.min() > 1e-3 * expected.max()
    np.testing.assert_allclose(trainer.agent.proposals.change_size, expected, rtol=1e-4)
    monkeypatch.setattr(training_data, "MOST_CHANGES", len(t) // 2)
    some = Trainer(store, config, progress=False)
    assert len(some.data.changes(3)) == len(t) // 2
    np.testing.assert_allclose(some.agent.proposals.change_size, expected, rtol=0.5)


def test_a_run_from_before_is_not_taken_for_one_of_today(tiny_config: Config, synthetic_store: Path) -> None:
    """Then changes counted in another size under another name."""
    trainer = Trainer(
        EpisodeStore.open(synthetic_store), tiny_config(proposal_steps=3, observation="state"), progress=False
    )
    state = trainer.state()
    state["agent"]["proposals.scale"] = state["agent"].pop("proposals.change_size")
    with pytest.raises(ValueError, match="does not fit the networks of this version: train again"):
        trainer.restore(state)


def test_what_never_changes_is_not_amplified() -> None:
    flow = ProposalFlow(ProposalConfig(proposal_steps=3), STATE, None)
    flow.measure(torch.tensor([[2.0, 0.0], [-2.0, 0.0]]))
    torch.testing.assert_close(flow.change_size, torch.tensor([2.0, 0.002]))
    flow.measure(torch.zeros(2, 2))
    torch.testing.assert_close(flow.change_size, torch.full((2,), 1e-3))


def test_the_critic_chooses_the_subgoal_as_if_it_were_asked_one_by_one(tiny_config: Config) -> None:
    torch.manual_seed(0)
    config = tiny_config(proposal_steps=5, candidates=9).agent
    agent = MQEAgent(config, ObservationSpec("state", state_dim=4), 7, None).eval()
    observations, goals = torch.randn(5, 4), torch.randn(5, 4)
    assert agent.candidates == 9 and agent.proposals is not None
    with torch.no_grad():
        choice, subgoals = agent.chosen(observations, goals), agent.proposals(observations)
        for i in range(9):
            psi, psi_goal = (agent.psi(agent.critic_encoder(x)) for x in (subgoals[:, i], goals))
            expected = agent.head(psi, psi_goal).amax(0) / -torch.tensor(config.discount).log()
            torch.testing.assert_close(choice.distances[:, i], expected, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(
                choice.candidates[:, i], agent.actor(observations, subgoals[:, i]).mean.clamp(-1.0, 1.0)
            )
        assert torch.equal(choice.chosen, choice.distances.argmin(-1))
        assert torch.equal(choice.action, choice.candidates[torch.arange(5), choice.chosen])
        torch.testing.assert_close(choice.steps_to_goal, agent.steps_to_goal(observations, goals))
        farthest = choice.distances.argmax(-1)
        assert torch.equal(agent.chosen(observations, goals, farthest).chosen, choice.chosen)
        agent.config = dataclasses.replace(agent.config, choice_margin=1e3)
        assert torch.equal(agent.chosen(observations, goals, farthest).chosen, farthest)


def test_the_policy_is_cloned_alone_at_its_own_rate(tiny_config: Config, synthetic_store: Path) -> None:
    """With proposals no Q term, whatever its weight; and `actor_learning_rate` is that of the proposals as well."""
    store = EpisodeStore.open(synthetic_store)
    losses = []
    for weight in (0.0, 1.0):
        keys = {"proposal_steps": 3, "q_weight": weight, "observation": "state", "actor_learning_rate": 1e-5}
        trainer = Trainer(store, tiny_config(**keys), progress=False)
        trainer.update()
        losses.append(trainer.means.take())
    assert losses[0]["loss"] == losses[1]["loss"] and "actor/q_mean" not in losses[1]
    slow = {id(parameter) for parameter in trainer.optimiser.param_groups[1]["params"]}
    assert slow == {id(p) for module in (trainer.agent.actor, trainer.agent.proposals) for p in module.parameters()}


def test_it_trains_on_features_and_is_one_graph(
    writable_store: Path, encoder_run: Path, tmp_path: Path, tiny_config: Config, spec: Any
) -> None:
    """The graph answers as torch does (export checks that), bit for bit alike, and says what it chose from."""
    keys = {"features_of": str(encoder_run), "observation": "features", "proposal_steps": 3, "flow_steps": 4}
    train(writable_store, tmp_path / "run", tiny_config(**keys, candidates=8), progress=False)
    assert "actor/proposal_loss" in (tmp_path / "run" / "metrics.csv").read_text()
    learned = load_run(tmp_path / "run")[0].proposals
    assert isinstance(learned, ProposalFlow) and not bool((learned.change_size == 1.0).any())
    bundle = export_run(tmp_path / "run", tmp_path / "policy.onnx", spec)
    contract = bundle.contract
    assert (contract.candidates, contract.flow_steps, contract.proposal_steps) == (8, 4, 3) and contract.chooses
    images = np.stack([counter_image(32, i) for i in range(4)])
    outputs, again = (PolicyBundle.open(tmp_path / "policy.onnx").run(images[:2], images[2:]) for _ in range(2))
    assert all(np.array_equal(values, again[name]) for name, values in outputs.items())
    np.testing.assert_array_equal(outputs["chosen"], outputs["distances"].argmin(axis=1))
    assert len(np.unique(outputs["candidates"][0], axis=0)) == 8
    fewer = export_run(tmp_path / "run", tmp_path / "fewer.onnx", spec, changes={"candidates": 4})
    four = fewer.run(images[:2], images[2:])
    np.testing.assert_allclose(four["candidates"], outputs["candidates"][:, :4], atol=1e-5)
    with pytest.raises(ValueError, match="needs proposals to choose from"):
        export_run(tmp_path / "run", tmp_path / "one.onnx", spec, changes={"candidates": 1})


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"proposal_steps": -1}, "proposal_steps must not be negative, got -1"),
        ({"proposal_steps": 5, "actor": "flow"}, "proposal_steps is of actor: gaussian"),
        ({"proposal_steps": 5, "candidates": 1}, "needs proposals to choose from"),
        ({"proposal_steps": 5, "candidates": 65}, "candidates must lie in 1 to 64"),
        ({"proposal_steps": 5, "alpha": 0.0}, "alpha is 0"),
        ({"proposal_steps": 5, "flow_steps": 0}, "flow_steps must lie in 1 to 10"),
    ],
)
def test_what_cannot_be_is_refused(tiny_config: Config, keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        tiny_config(**keys)


def test_images_are_not_proposed(synthetic_store: Path, tmp_path: Path, tiny_config: Config) -> None:
    with pytest.raises(ValueError, match="no images: train an encoder first"):
        train(synthetic_store, tmp_path / "run", tiny_config(proposal_steps=5, observation="pixels"), progress=False)
