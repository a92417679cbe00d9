"""Promise: a flow keeps the modes that one mean loses, answers the same noise alike, and knows its limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mqe_core.learning.networks.flow import FlowActor, FlowConfig, decided, fixed_noise
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.observations import ObservationSpec
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.run_folder import load_run
from mqe_core.learning.run.train import train

Config = Callable[..., RunConfig]
STATE = ObservationSpec("state", state_dim=2)


def flow(kind: ObservationSpec = STATE, candidates: int = 1, **keys: Any) -> FlowActor:
    torch.manual_seed(0)
    config = FlowConfig(actor="flow", alpha=1.0, hidden_dims=(64, 64), encoder="patch", **keys)
    return FlowActor(config, kind, 3, None, candidates)


def rows(goals: torch.Tensor, actions: torch.Tensor) -> Batch:
    frames = {"observation": torch.zeros(len(goals), 2), "actor_goal": goals}
    return Batch(frames, {name: torch.zeros(len(goals)) for name in frames}, actions)


def test_two_modes_are_learned_and_nothing_between_them() -> None:
    """To the left or to the right of an obstacle, as the goal's second number has it or, at 0, either way."""
    actor, generator = flow(flow_gripper=False), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(actor.parameters(), 1e-2)
    rate = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=700)
    for _ in range(700):
        asked = torch.randint(-1, 2, (256,), generator=generator)  # left, either, right
        either = torch.randint(0, 2, (256,), generator=generator) * 2 - 1
        side = torch.where(asked == 0, either, asked).float()
        goals = torch.stack([torch.ones(256), asked.float()], dim=-1)
        noise = 0.02 * torch.randn(256, 3, generator=generator)
        loss, metrics = actor.loss(rows(goals, noise + 0.7 * torch.stack([side, 0 * side, -side], dim=-1)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
    noise = torch.randn(400, 3, generator=generator)
    with torch.no_grad():
        left, either, right = actor.sample(torch.zeros(3, 2), torch.tensor([[1.0, k] for k in (-1, 0, 1)]), noise)
    assert 0.3 < float((either[:, 0] > 0).float().mean()) < 0.7
    for sampled, share in ((left, 0.01), (right, 0.01), (either, 0.09)):  # a mean of both: all of them
        between = sampled[:, 0].abs() < 0.35
        assert float(between.float().mean()) <= share
    assert bool((left[:, 0] < 0).all()) and bool((right[:, 0] > 0).all())
    torch.testing.assert_close(
        either[:, 2], -either[:, 0], atol=0.25, rtol=0
    )  # the numbers of an action belong together


def test_the_same_noise_gives_the_same_and_is_clipped_at_the_end_alone() -> None:
    actor = flow(flow_gripper=False)
    with torch.no_grad():
        actor.velocity.head.weight.zero_()
        actor.velocity.head.bias.copy_(torch.tensor([-3.0, 0.5, 0.0]))  # the same everywhere
    start = torch.tensor([[3.5, 0.0, -1.5], [0.0, 0.0, 0.25]])
    sampled = [actor.sample(torch.zeros(2, 2), torch.zeros(2, 2), start) for _ in range(2)]
    assert torch.equal(*sampled)
    # 3.5 - 3.0: clipped on its way it would have ended at -1.
    torch.testing.assert_close(sampled[0][0], torch.tensor([[0.5, 0.5, -1.0], [-1.0, 0.5, 0.25]]))


@pytest.mark.parametrize("sees_goal", [True, False])
@pytest.mark.parametrize("kind", ["state", "pixels"])
def test_shapes_and_gradients(kind: str, sees_goal: bool) -> None:
    spec = ObservationSpec(kind, image_size=16, state_dim=2)
    actor = flow(spec, candidates=5, actor_sees_goal=sees_goal, actor_fusion="late")
    size = (4, 16, 16, 3)
    frames = [torch.randint(0, 256, size, dtype=torch.uint8) if kind == "pixels" else torch.randn(4, 2) for _ in "og"]
    batch = Batch(
        dict(zip(("observation", "actor_goal"), frames)),
        {name: torch.zeros(4) for name in ("observation", "actor_goal")},
        torch.rand(4, 3) * 2 - 1,
        actor_pairs=torch.tensor([[0, 0], [0, 2], [1, 1], [2, 2], [3, 3]]),
    )
    loss, metrics = actor.loss(batch)
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in actor.parameters())
    assert metrics["flow_loss"].item() == loss.item()
    candidates = actor.candidates(*frames)
    assert candidates.shape == (4, 5, 3) and float(candidates.detach().abs().max()) <= 1.0
    assert set(candidates[..., -1].unique().tolist()) <= {-1.0, 1.0}
    elsewhere = actor.candidates(frames[0], frames[1].flip(0))
    assert torch.equal(candidates, elsewhere) is not sees_goal
    one_by_one = torch.cat([actor.candidates(frames[0][i : i + 1], frames[1][i : i + 1]) for i in range(4)])
    torch.testing.assert_close(candidates, one_by_one, atol=1e-4, rtol=1e-4)


def test_the_first_layer_is_shared_as_if_it_were_not() -> None:
    """Of a candidate that stands beside the features the networks say what they say of both together."""
    torch.manual_seed(0)
    actor = flow(actor_layer_norm=True)
    features, own = torch.randn(3, 4), torch.randn(3, 5, 4)
    whole = torch.cat([features[:, None].expand(-1, 5, -1), own], dim=-1).flatten(0, 1)
    split = actor.velocity.of_candidates(actor.velocity.shared(features), own)
    torch.testing.assert_close(split.flatten(0, 1), actor.velocity(whole))


def test_fixed_noise_begins_with_zero_and_comes_in_pairs() -> None:
    noise = fixed_noise(33, 7)
    assert torch.equal(noise[0], torch.zeros(7)) and torch.equal(noise[1::2], -noise[2::2])
    assert all(torch.equal(fixed_noise(count, 7), noise[:count]) for count in (1, 2, 8, 32))
    assert len({tuple(row) for row in noise.tolist()}) == 33


def test_a_gripper_is_open_or_closed() -> None:
    actions = torch.tensor([[0.3, -0.01], [0.3, 0.0], [-1.0, 0.7]])
    assert torch.equal(decided(actions), torch.tensor([[0.3, -1.0], [0.3, 1.0], [-1.0, 1.0]]))


@pytest.mark.parametrize("agent", ["mqe", "gciql", "gcbc"])
def test_it_trains_and_loads_from_states_and_pixels(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, observation: str, agent: str
) -> None:
    keys = {"agent": agent, "actor": "flow", "observation": observation, "candidates": 4, "flow_steps": 3}
    train(synthetic_store, tmp_path / "run", tiny_config(**keys), progress=False)
    assert "actor/flow_loss" in (tmp_path / "run" / "metrics.csv").read_text()
    loaded, config, _ = load_run(tmp_path / "run")
    assert isinstance(loaded.actor, FlowActor) and config.agent.flow_steps == 3
    assert loaded.candidates == (1 if agent == "gcbc" else 4)
    size = (2, 32, 32, 3)
    seen = torch.zeros(size, dtype=torch.uint8) if observation == "pixels" else torch.zeros(2, 7)
    action, steps = loaded.policy_module()(seen, seen)
    assert action.shape == (2, 7) and set(action[:, -1].tolist()) <= {-1.0, 1.0}
    assert (steps is None) == (agent == "gcbc")


def test_it_trains_on_features(writable_store: Path, encoder_run: Path, tmp_path: Path, tiny_config: Config) -> None:
    keys = {"features_of": str(encoder_run), "observation": "features", "actor": "flow", "actor_sees_goal": False}
    train(writable_store, tmp_path / "run", tiny_config(**keys, candidates=8), progress=False)
    agent, _, _ = load_run(tmp_path / "run")
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    choice = agent.policy_module().choose(images, images.flip(0))
    assert choice.candidates.shape == (2, 8, 7) and choice.distances.shape == (2, 8)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"flow_steps": 0}, "flow_steps must lie in 1 to 10, got 0"),
        ({"flow_steps": 11}, "flow_steps must lie in 1 to 10, got 11"),
        ({"candidates": 0}, "candidates must lie in 1 to 64, got 0"),
        ({"candidates": 65}, "candidates must lie in 1 to 64, got 65"),
        ({"candidates": 1, "actor_sees_goal": False}, "needs a critic with a choice"),
        ({"choice_margin": -0.1}, "choice_margin must be a number from 0"),
        ({"choice_margin": float("nan")}, "choice_margin must be a number from 0"),
        ({"actor": "gaussian", "actor_sees_goal": False}, "needs actor: flow"),
        ({"agent": "gcbc", "actor_sees_goal": False}, "gcbc has none"),
        ({"agent": "gciql", "actor_loss": "awr"}, "actor_loss: awr is of actor: gaussian"),
        ({"landmark_weight": 1.0}, "landmark_weight is of actor: gaussian"),
        ({"actor_learns_std": True}, "actor_learns_std is of actor: gaussian"),
        ({"alpha": 0.0}, "alpha is 0"),
        ({"action_scale": "identity"}, "set flow_gripper to false"),
        ({"actor": "flows"}, "actor must be one of gaussian, flow"),
        ({"agent": "tra"}, None),
    ],
)
def test_what_cannot_be_is_refused(tiny_config: Config, keys: dict[str, Any], reason: str | None) -> None:
    if reason is None:  # an agent without the key skips it in a preset, as any other
        assert not hasattr(tiny_config(**{"actor": "flow", **keys}).agent, "actor")
        return
    with pytest.raises(ValueError, match=reason):
        tiny_config(**{"actor": "flow", **keys})


def test_the_critic_learns_the_gripper_that_it_judges(tiny_config: Config) -> None:
    actions = torch.tensor([[0.2, 0.4], [0.2, -0.4]])
    config = tiny_config(actor="flow").agent
    assert isinstance(config, FlowConfig)
    assert torch.equal(config.judged(actions), decided(actions))
    assert config.judged(actions).shape == actions.shape
    assert replace(config, actor="gaussian").judged(actions) is actions
