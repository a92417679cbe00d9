"""What each loss of MQE may move, what the actor optimises, and what deployment gets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mqe_core.learning.agents.mqe import MQEAgent
from mqe_core.learning.networks import encoders as networks
from mqe_core.learning.networks.actor import ActionDistribution, ActorConfig
from mqe_core.learning.networks.actor_losses import actor_loss
from mqe_core.learning.networks.convolutions import SameMaxPool
from mqe_core.learning.networks.encoders import make_image_encoder
from mqe_core.learning.networks.layers import EnsembleMLP
from mqe_core.learning.quasimetric import mrn_distance
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.observations import ObservationSpec
from mqe_core.learning.run.run_config import RunConfig

ROWS, SIZE = 6, 16


def make_batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def images() -> Tensor:
        return torch.randint(0, 256, (ROWS, SIZE, SIZE, 3), generator=generator, dtype=torch.uint8)

    actions = 2 * torch.rand(ROWS, 7, generator=generator) - 1
    steps = {name: torch.randint(1, 9, (ROWS,), generator=generator).float() for name in MQEAgent.frames}
    return Batch({name: images() for name in MQEAgent.frames}, steps, actions)


def make_agent(config: RunConfig, seed: int = 0) -> MQEAgent:
    torch.manual_seed(seed)
    return MQEAgent(config.agent, ObservationSpec("pixels", image_size=SIZE), action_dim=7)


def moved(module: nn.Module) -> bool:
    return any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in module.parameters())


def test_critic_and_actor_losses_train_their_own_networks_only(tiny_config: Callable[..., RunConfig]) -> None:
    """Without the actor's terms the actor gets no gradient; and the Q term changes no gradient of the critic."""
    agent = make_agent(tiny_config(alpha=2.0))
    loss, _ = agent.loss(make_batch())
    loss.backward()
    assert all(
        moved(part) for part in (agent.phi, agent.psi, agent.critic_encoder, agent.actor.head, agent.actor.encoder)
    )
    critic_names = [name for name, _ in agent.named_parameters() if not name.startswith("actor")]
    with_q = {name: agent.get_parameter(name).grad.clone() for name in critic_names}

    without_q = make_agent(tiny_config(alpha=7.0, q_weight=0.0))
    without_q.loss(make_batch())[0].backward()
    for name in critic_names:
        assert torch.equal(with_q[name], without_q.get_parameter(name).grad), name


def test_with_the_q_term_off_the_actor_clones_behaviour(tiny_config: Callable[..., RunConfig]) -> None:
    agent = make_agent(tiny_config(alpha=2.0, q_weight=0.0))
    batch = make_batch()
    loss, metrics = agent.loss(batch)
    assert "actor/q_mean" not in metrics
    mean = agent.actor(batch.frames["observation"], batch.frames["actor_goal"]).mean
    expected = -2.0 * torch.distributions.Normal(mean, 1.0).log_prob(batch.actions).sum(-1).mean()
    actor_parameters = list(agent.actor.parameters())
    ours = torch.autograd.grad(loss, actor_parameters)
    for gradient, reference in zip(ours, torch.autograd.grad(expected, actor_parameters)):
        torch.testing.assert_close(gradient, reference, rtol=1e-4, atol=1e-6)


def test_q_is_the_worst_member_at_the_clipped_action(tiny_config: Callable[..., RunConfig]) -> None:
    """One row and one member at a time; the actor's gradient is that of -mean(q) / mean|q| through the action alone."""
    agent = make_agent(tiny_config(alpha=0.0))
    with torch.no_grad():
        agent.actor.head.network.head.bias.copy_(
            torch.tensor([3.0, 0, 0, 0, 0, 0, -3.0])
        )  # two of seven means are clipped
    batch = make_batch()
    loss, metrics = agent.loss(batch)
    components = agent.config.components
    q = []
    mean = agent.actor(batch.frames["observation"], batch.frames["actor_goal"]).mean
    for row in range(ROWS):
        action = mean[row].clamp(-1, 1)
        state = agent.critic_encoder(batch.frames["observation"][row : row + 1]).detach()
        phi = agent.phi(torch.cat([state, action[None]], dim=-1))[:, 0]
        psi = agent.psi(agent.critic_encoder(batch.frames["actor_goal"][row : row + 1]))[:, 0].detach()
        q.append(torch.stack([-mrn_distance(phi[e], psi[e], components) for e in range(agent.config.ensemble)]).min())
    q = torch.stack(q)
    assert metrics["actor/q_mean"].item() == pytest.approx(q.mean().item(), rel=1e-4)
    bias = agent.actor.head.network.head.bias
    ours = torch.autograd.grad(loss, bias, retain_graph=True)[0]
    expected = torch.autograd.grad(-q.mean() / (q.abs().mean().detach() + 1e-6), bias)[0]
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-7)
    assert ours[0] == ours[-1] == 0 and ours[1:-1].all()


def test_actor_loss_by_hand() -> None:
    mean, actions = torch.tensor([[0.5, 0.0]]), torch.tensor([[0.0, 1.0]])
    config, batch = ActorConfig(alpha=3.0), Batch({"observation": actions}, {"observation": torch.zeros(1)}, actions)
    chosen = ActionDistribution(mean)
    loss, metrics = actor_loss(config, chosen, batch, torch.tensor([-2.0]), q_weight=0.5)
    bc = 0.5 * (0.25 + 1.0) + math.log(2 * math.pi)
    assert metrics["bc_loss"].item() == pytest.approx(bc)
    assert metrics["action_mse"].item() == pytest.approx(0.625)
    assert loss.item() == pytest.approx(0.5 + 3.0 * bc, rel=1e-5)


def test_the_critic_sees_waypoints_and_value_goals(tiny_config: Callable[..., RunConfig]) -> None:
    agent = make_agent(tiny_config(q_weight=0.0))
    batch = make_batch()
    base = agent.loss(batch)[0].item()
    for name in ("waypoint", "value_goal"):
        other = replace(batch, frames={**batch.frames, name: make_batch(1).frames[name]})
        assert agent.loss(other)[0].item() != base, name


def test_steps_to_goal_is_the_ensemble_mean_in_control_steps(tiny_config: Callable[..., RunConfig]) -> None:
    agent = make_agent(tiny_config(discount=0.9)).eval()
    frames = make_batch().frames
    observations, goals = frames["observation"], frames["value_goal"]
    with torch.no_grad():
        action, steps = agent.policy_module()(observations, goals)
        psi_s, psi_goal = (agent.psi(agent.critic_encoder(x)) for x in (observations, goals))
        members = [mrn_distance(psi_s[e], psi_goal[e], agent.config.components) for e in range(2)]
    torch.testing.assert_close(steps, (members[0] + members[1]) / 2 / -math.log(0.9))
    torch.testing.assert_close(action, agent.actor(observations, goals).mean.clamp(-1, 1))


def test_ensemble_members_are_independent_plain_networks() -> None:
    """The stacked MLP equals torch's own layers, one member at a time."""
    torch.manual_seed(0)
    ensemble = EnsembleMLP(2, 5, (8, 6), 4)
    x = torch.randn(3, 5)
    for e in range(2):
        layers: list[nn.Module] = []
        for index, (a, b) in enumerate([(5, 8), (8, 6)]):
            linear, norm = nn.Linear(a, b), nn.LayerNorm(b, eps=1e-6)
            linear.weight.data, linear.bias.data = ensemble.hidden[index].weight[e].T, ensemble.hidden[index].bias[e, 0]
            layers += [linear, nn.GELU(approximate="tanh"), norm]
        head = nn.Linear(6, 4)
        head.weight.data, head.bias.data = ensemble.head.weight[e].T, ensemble.head.bias[e, 0]
        torch.testing.assert_close(ensemble(x)[e], nn.Sequential(*layers, head)(x))
    assert not torch.equal(ensemble(x)[0], ensemble(x)[1])


def test_official_encoder_has_the_official_size() -> None:
    encoder = make_image_encoder("impala_small", 3, 64)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == pytest.approx(1.105e6, rel=1e-3)
    assert encoder(torch.zeros(2, 64, 64, 3, dtype=torch.uint8)).shape == (2, 512)


def test_official_state_networks_have_the_official_size(tiny_config: Callable[..., RunConfig]) -> None:
    """antmaze (29 state numbers, 8 actions): phi 1.62 M, psi 1.61 M, actor 0.56 M parameters."""
    config = tiny_config(hidden_dims=[512, 512, 512], latent_dim=512, components=8).agent
    agent = MQEAgent(config, ObservationSpec("state", state_dim=29), action_dim=8)
    sizes = [
        sum(parameter.numel() for parameter in part.parameters()) for part in (agent.phi, agent.psi, agent.actor.head)
    ]
    assert sizes == pytest.approx([1.62e6, 1.61e6, 0.56e6], rel=5e-3)


def test_max_pool_pads_right_and_bottom_only() -> None:
    """Flax's SAME padding: the first window starts at pixel 0, the last reaches one past the edge."""
    pooled = SameMaxPool()(torch.arange(16.0).view(1, 1, 4, 4))
    torch.testing.assert_close(pooled, torch.tensor([[[[10.0, 11.0], [14.0, 15.0]]]]))


@pytest.mark.parametrize("supported", [True, False])
def test_bfloat16_encoders_change_training_only_and_only_where_the_processor_has_it(
    tiny_config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch, supported: bool
) -> None:
    monkeypatch.setattr(networks, "has_bfloat16", lambda device: supported)
    exact, fast = make_agent(tiny_config()), make_agent(tiny_config(encoder_bfloat16=True))
    images = make_batch().frames["observation"]
    with torch.no_grad():
        assert fast.train().critic_encoder(images).dtype == torch.float32
        assert torch.equal(fast.critic_encoder(images), exact.critic_encoder(images)) is not supported
        torch.testing.assert_close(fast.critic_encoder(images), exact.critic_encoder(images), rtol=0.05, atol=0.05)
        assert torch.equal(fast.eval().critic_encoder(images), exact.critic_encoder(images))
