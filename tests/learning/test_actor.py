"""The policy's distribution over actions: one Gaussian is the official policy, several keep two ways apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mqe_core.learning.actor import ActionDistribution, ActionHead, ActorConfig, GoalActor, actor_loss
from mqe_core.learning.batch import Batch
from mqe_core.learning.observations import ObservationSpec


def rows_with(actions: torch.Tensor) -> Batch:
    """Rows of which only the actions matter."""
    nothing = torch.zeros(len(actions), 1)
    return Batch(nothing, actions, nothing, nothing[:, 0], nothing, nothing[:, 0] > 0, nothing)


def test_log_prob_is_that_of_the_mixture_times_its_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, means, actions = (torch.randn(*shape, generator=generator) for shape in ((5, 3), (5, 3, 7), (5, 7)))
    parts = torch.distributions.Independent(torch.distributions.Normal(means, 0.3), 1)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=logits), parts)
    torch.testing.assert_close(
        ActionDistribution(logits, means, 0.3).log_prob(actions), 0.09 * mixture.log_prob(actions)
    )


def test_the_mode_is_the_mean_of_the_most_probable_component() -> None:
    means = torch.arange(12.0).view(2, 3, 2)
    chosen = ActionDistribution(torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]]), means, 0.2)
    assert chosen.mode.tolist() == [[2.0, 3.0], [6.0, 7.0]]


@pytest.mark.parametrize(("components", "nearest"), [(1, 1.0), (4, 0.05)])
def test_between_two_ways_a_mixture_takes_one_and_a_single_gaussian_neither(components: int, nearest: float) -> None:
    """The data goes left or right by chance; how far the learned action is from the nearer of both."""
    torch.manual_seed(0)
    config = ActorConfig(hidden_dims=(32,), actor_components=components, actor_std=0.2 if components > 1 else 1.0)
    head = ActionHead(config, 3, 2)
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-2)
    features = torch.ones(64, 3)
    for _ in range(400):
        side = torch.randint(0, 2, (64, 1)) * 2.0 - 1.0
        loss, _ = actor_loss(config, head(features), rows_with(torch.cat([side, 0.5 * torch.ones(64, 1)], dim=1)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        x, y = head(features[:1]).mode[0].tolist()
    assert abs(1.0 - abs(x)) == pytest.approx(nearest, abs=0.2 if components == 1 else 0.05)
    assert y == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_with_layer_norm_the_size_of_what_a_layer_says_does_not_matter(layer_norm: bool) -> None:
    assert not ActorConfig().actor_layer_norm
    head = ActionHead(ActorConfig(hidden_dims=(16, 16), actor_layer_norm=layer_norm), 3, 2)
    first, features = head.network.hidden[0], torch.zeros(1, 3)
    actions = []
    with torch.no_grad():
        for size in (1.0, 50.0):
            first.bias.copy_(size * torch.linspace(5.0, 9.0, 16))  # where GELU is linear
            actions.append(head(features).mode)
    assert torch.allclose(*actions, rtol=1e-3, atol=1e-5) == layer_norm


def test_a_policy_without_components_or_width_is_refused() -> None:
    with pytest.raises(ValueError, match="actor_components"):
        ActorConfig(actor_components=0)
    with pytest.raises(ValueError, match="actor_std"):
        ActorConfig(actor_std=0.0)


@pytest.mark.parametrize(("kind", "fusion"), [("pixels", "early"), ("pixels", "late"), ("state", "late")])
def test_pairs_are_answered_as_one_by_one(kind: str, fusion: str) -> None:
    torch.manual_seed(0)
    config = ActorConfig(hidden_dims=(16,), encoder="patch", actor_fusion=fusion)
    actor = GoalActor(config, ObservationSpec(kind, image_size=16, state_dim=3), 7, None)
    draw = (
        (lambda: torch.randint(0, 256, (4, 16, 16, 3), dtype=torch.uint8))
        if kind == "pixels"
        else (lambda: torch.randn(4, 3))
    )
    observations, goals, pairs = draw(), draw(), torch.tensor([[0, 0], [0, 2], [1, 2], [2, 2], [3, 0]])
    together = actor(observations, goals, pairs).mode
    for (row, goal), action in zip(pairs.tolist(), together):
        torch.testing.assert_close(
            actor(observations[row : row + 1], goals[goal : goal + 1]).mode[0], action, rtol=1e-4, atol=1e-5
        )


def test_every_row_weighs_the_same_whatever_its_goals() -> None:
    batch = replace(rows_with(torch.zeros(3, 2)), actor_pairs=torch.tensor([[0, 0], [0, 1], [0, 2], [1, 1], [2, 2]]))
    torch.testing.assert_close(batch.pair_weights, torch.tensor([1 / 9, 1 / 9, 1 / 9, 1 / 3, 1 / 3]))
    means = torch.tensor([[3.0, 0.0], [3.0, 0.0], [3.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    _, metrics = actor_loss(ActorConfig(), ActionDistribution(torch.zeros(5, 1), means[:, None], 1.0), batch)
    assert metrics["action_mse"].item() == pytest.approx(4.5 / 3)


def test_landmarks_are_learned_beside_the_action_and_change_no_action() -> None:
    torch.manual_seed(0)
    head = ActionHead(ActorConfig(hidden_dims=(16,), landmark_weight=2.0), 3, 7)
    chosen = head(torch.randn(4, 3))
    assert chosen.mode.shape == (4, 7) and chosen.landmarks.shape == (4, 7)
    wanted = replace(rows_with(chosen.mode.detach()), landmarks=chosen.landmarks.detach() + 1.0)
    without, _ = actor_loss(ActorConfig(), replace(chosen, landmarks=None), wanted)
    loss, metrics = actor_loss(ActorConfig(landmark_weight=2.0), chosen, wanted)
    assert metrics["landmark_mse"].item() == pytest.approx(1.0, rel=1e-5) and (loss - without).item() == pytest.approx(
        2.0, rel=1e-5
    )
