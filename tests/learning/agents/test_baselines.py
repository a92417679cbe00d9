"""What the losses of the baselines are, what each may move, and that they learn what they should."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mqe_core.learning.agents import AGENTS
from mqe_core.learning.agents.tra import alignment_loss
from mqe_core.learning.networks.encoders import FilmedEncoder, make_image_encoder
from mqe_core.learning.networks.values import expectile_loss
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.goal_sampling import GoalMixture, TransitionIndex, TransitionSampler
from mqe_core.learning.rows.observations import ObservationSpec
from mqe_core.learning.run.run_config import RunConfig

Config = Callable[..., RunConfig]
ROWS, SIZE = 6, 16
CHAIN = 6  # states in a row; the data walks from left to right


def make_batch(kind: str, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def observations() -> Tensor:
        if kind == "state":
            return torch.randn(ROWS, 4, generator=generator)
        return torch.randint(0, 256, (ROWS, SIZE, SIZE, 3), generator=generator, dtype=torch.uint8)

    actions = 2 * torch.rand(ROWS, 7, generator=generator) - 1
    at_goal = torch.tensor([True, False, False, False, False, False])
    names = ("observation", "next_observation", "value_goal", "actor_goal")
    steps = dict.fromkeys(names, torch.ones(ROWS)) | {"value_goal": (~at_goal).float()}
    return Batch({name: observations() for name in names}, steps, actions)


def make_agent(config: RunConfig, kind: str = "pixels") -> nn.Module:
    torch.manual_seed(0)
    observation = ObservationSpec(
        kind, image_size=SIZE if kind == "pixels" else 0, state_dim=4 if kind == "state" else 0
    )
    return AGENTS[config.train.agent][0](config.agent, observation, 7)


def moved(module: nn.Module) -> bool:
    return any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in module.parameters())


@pytest.mark.parametrize("kind", ["pixels", "state"])
def test_gcbc_is_the_likelihood_of_the_actions(tiny_config: Config, kind: str) -> None:
    agent, batch = make_agent(tiny_config(agent="gcbc"), kind), make_batch(kind)
    mean = agent.actor(batch.frames["observation"], batch.frames["actor_goal"]).mean
    expected = -torch.distributions.Normal(mean, 1.0).log_prob(batch.actions).sum(-1).mean()
    torch.testing.assert_close(agent.loss(batch)[0], expected)


def test_expectile_loss_by_hand() -> None:
    torch.testing.assert_close(expectile_loss(torch.tensor([2.0, -3.0, 0.0]), 0.9), torch.tensor([3.6, 0.9, 0.0]))


@pytest.mark.parametrize("kind", ["pixels", "state"])
def test_gciql_loss_is_the_sum_of_its_three_parts(tiny_config: Config, kind: str) -> None:
    agent, batch = (
        make_agent(tiny_config(agent="gciql", expectile=0.7, discount=0.8, alpha=2.0), kind),
        make_batch(kind),
    )
    observations, value_goals, actor_goals = (
        batch.frames[name] for name in ("observation", "value_goal", "actor_goal")
    )
    with torch.no_grad():
        agent.target_q.values.head.bias.add_(0.5)  # a copy that differs from Q
        q = agent.q(observations, value_goals, batch.actions)
        value = agent.value(observations, value_goals)[0]
        advantage = agent.target_q(observations, value_goals, batch.actions).amin(0) - value
        value_loss = torch.where(advantage < 0, 0.3, 0.7) * advantage**2
        next_value = agent.value(batch.frames["next_observation"], value_goals)[0]
        backup = torch.where(batch.steps["value_goal"] == 0, 0.0, -1.0 + 0.8 * next_value)
        mean = agent.actor(observations, actor_goals).mean
        chosen = agent.q(observations, actor_goals, mean.clamp(-1, 1)).min(0).values
        cloning = -torch.distributions.Normal(mean, 1.0).log_prob(batch.actions).sum(-1).mean()
        expected = value_loss.mean() + ((q[0] - backup) ** 2 + (q[1] - backup) ** 2).mean()
        expected += 2.0 * cloning - chosen.mean() / chosen.abs().mean()
        torch.testing.assert_close(agent.loss(batch)[0], expected)


def test_gciqls_actor_moves_no_critic_and_its_copy_follows_slowly(tiny_config: Config) -> None:
    """Other actor goals change the Q term and nothing of the critics' gradients."""
    batch = make_batch("pixels")
    gradients = []
    for goals in (batch.frames["actor_goal"], batch.frames["actor_goal"].flip(0)):
        agent = make_agent(tiny_config(agent="gciql"))
        agent.loss(replace(batch, frames={**batch.frames, "actor_goal": goals}))[0].backward()
        assert moved(agent.value) and moved(agent.q) and moved(agent.actor) and not moved(agent.target_q)
        gradients.append([parameter.grad for part in (agent.value, agent.q) for parameter in part.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients))

    before = agent.target_q.values.head.weight.clone()
    with torch.no_grad():
        agent.q.values.head.weight.add_(1.0)
    agent.after_update()
    torch.testing.assert_close(agent.target_q.values.head.weight, before + 0.005)


def test_gciql_learns_the_steps_along_a_chain(tiny_config: Config) -> None:
    config = tiny_config(agent="gciql", hidden_dims=[32, 32], discount=0.9, expectile=0.7, target_rate=0.05).agent
    torch.manual_seed(0)
    agent = AGENTS["gciql"][0](config, ObservationSpec("state", state_dim=CHAIN), 1)
    optimiser = torch.optim.Adam(agent.parameters(), lr=3e-3)
    transitions = TransitionIndex(np.array([True] * (CHAIN - 1) + [False]), np.array([CHAIN]))
    rng, states = np.random.default_rng(0), torch.eye(CHAIN)
    for _ in range(600):
        rows = config.sampler().sample(transitions, rng, 32)
        batch = Batch(
            frames={name: states[rows.frames[name]] for name in agent.frames},
            steps={name: torch.from_numpy(rows.steps_to(name)) for name in agent.frames},
            actions=torch.ones(32, 1),
        )
        optimiser.zero_grad()
        agent.loss(batch)[0].backward()
        optimiser.step()
        agent.after_update()
    with torch.no_grad():
        _, steps = agent.policy_module()(states[:5], states[4:5].expand(5, -1))
    np.testing.assert_allclose(steps.numpy(), [4, 3, 2, 1, 0], atol=0.4)


def test_tra_alignment_is_symmetric_cross_entropy_over_the_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    phi, psi = (torch.randn(2, 5, 3, generator=generator) for _ in range(2))
    total = 0.0
    for member in range(2):
        logits = phi[member] @ psi[member].T / math.sqrt(3)
        total -= sum(float(logits.log_softmax(1)[i, i] + logits.log_softmax(0)[i, i]) for i in range(5)) / 5
    loss, metrics = alignment_loss(phi, psi)
    assert loss.item() == pytest.approx(total / 2 / 5, rel=1e-5)  # both cross entropies, mean of two members, over B
    assert metrics["alignment"].item() == pytest.approx(total / 2 / 2, rel=1e-5)
    assert alignment_loss(10 * torch.eye(5)[None], 10 * torch.eye(5)[None])[1]["own_goal_accuracy"] == 1.0


def test_tras_policy_sees_the_goal_through_psi(tiny_config: Config) -> None:
    """From images phi is only aligned; psi also learns from the imitation, whose gradient passes the FiLM layers."""
    agent = make_agent(tiny_config(agent="tra", alignment_weight=0.0, size_weight=0.0))
    with torch.no_grad():
        for film in agent.actor_encoder.films:
            film.weight.normal_(std=0.1)
    agent.loss(make_batch("pixels"))[0].backward()
    assert moved(agent.psi) and moved(agent.actor) and moved(agent.actor_encoder) and not moved(agent.phi)

    from_states = make_agent(tiny_config(agent="tra", alignment_weight=0.0, size_weight=0.0), "state")
    from_states.loss(make_batch("state"))[0].backward()
    assert moved(from_states.phi) and moved(from_states.psi)


@pytest.mark.parametrize("name", ["strided_small", "impala_small", "residual"])
def test_film_begins_as_the_plain_encoder_and_scales_and_shifts_channels(name: str) -> None:
    encoder = make_image_encoder(name, 3, SIZE)
    filmed = FilmedEncoder(encoder, 4)
    images, condition = make_batch("pixels").frames["observation"], torch.ones(ROWS, 4)
    with torch.no_grad():
        assert torch.equal(filmed(images, condition), encoder(images))
        for film in filmed.films:  # scale -1, shift 0: nothing of the image is left
            film.bias[: len(film.bias) // 2] = -1.0
        blind = filmed(images, condition)
    torch.testing.assert_close(blind, blind[:1].expand_as(blind))


def test_rows_of_one_step_methods_follow_their_mixture() -> None:
    transitions = TransitionIndex(np.array([True] * 9 + [False]), np.array([10]))
    sampler = TransitionSampler(GoalMixture(0.25, 0.75, 0.0, discount=0.5))
    rows = sampler.sample(transitions, np.random.default_rng(0), 20_000)
    assert (rows.steps_to("next_observation") == 1).all()
    assert (rows.frames["value_goal"] >= rows.observation).all() and rows.frames["value_goal"].max() == 8
    early = rows.frames["value_goal"][rows.observation == 0]
    assert np.mean(early == 0) == pytest.approx(0.25, abs=0.04)
    assert np.mean(early == 1) == pytest.approx(0.75 / 2, abs=0.05)


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"agent": "hiql", "actor_goals_crossed": True}, "belong to one goal each"),
        ({"agent": "nsacbc", "landmark_weight": 1.0}, "predicts no landmarks"),
        ({"agent": "tra", "representation_dim": 0}, "from pixels give a number"),
        ({"agent": "qrl", "ensemble": 2}, "ensemble must be 1"),
        ({"agent": "qrl", "component_dim": 5}, "multiple of component_dim"),
        ({"agent": "hiql", "subgoal_steps": 0}, "at least 1"),
        ({"agent": "nsacbc", "backup_steps": 0}, "at least 1"),
        ({"agent": "tmd", "latent_dim": 20, "components": 8}, "multiple of 16"),
    ],
)
def test_what_an_agent_cannot_be_is_refused(tiny_config: Config, keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_agent(tiny_config(**keys))
