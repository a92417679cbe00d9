"""The policy's distribution over actions, what it sees, and how its rows and goals count."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mqe_core.learning.networks.actor import ActionDistribution, ActionHead, ActorConfig, GoalActor
from mqe_core.learning.networks.actor_losses import actor_loss
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.observations import ObservationSpec


def rows_with(actions: torch.Tensor) -> Batch:
    """Rows of which only the actions matter."""
    nothing = torch.zeros(len(actions), 1)
    return Batch({"observation": nothing}, {"observation": nothing[:, 0]}, actions)


def test_log_prob_is_that_of_a_gaussian_of_unit_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, actions = (torch.randn(5, 7, generator=generator) for _ in range(2))
    reference = torch.distributions.Independent(torch.distributions.Normal(mean, 1.0), 1)
    torch.testing.assert_close(ActionDistribution(mean).log_prob(actions), reference.log_prob(actions))


@pytest.mark.parametrize("layer_norm", [False, True])
def test_with_layer_norm_the_size_of_what_a_layer_says_does_not_matter(layer_norm: bool) -> None:
    assert not ActorConfig().actor_layer_norm
    head = ActionHead(ActorConfig(hidden_dims=(16, 16), actor_layer_norm=layer_norm), 3, 2)
    first, features = head.network.hidden[0], torch.zeros(1, 3)
    actions = []
    with torch.no_grad():
        for size in (1.0, 50.0):
            first.bias.copy_(size * torch.linspace(5.0, 9.0, 16))  # where GELU is linear
            actions.append(head(features).mean)
    assert torch.allclose(*actions, rtol=1e-3, atol=1e-5) == layer_norm


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
    together = actor(observations, goals, pairs).mean
    for (row, goal), action in zip(pairs.tolist(), together):
        torch.testing.assert_close(
            actor(observations[row : row + 1], goals[goal : goal + 1]).mean[0], action, rtol=1e-4, atol=1e-5
        )


def test_every_row_weighs_the_same_whatever_its_goals() -> None:
    batch = replace(rows_with(torch.zeros(3, 2)), actor_pairs=torch.tensor([[0, 0], [0, 1], [0, 2], [1, 1], [2, 2]]))
    torch.testing.assert_close(batch.pair_weights, torch.tensor([1 / 9, 1 / 9, 1 / 9, 1 / 3, 1 / 3]))
    means = torch.tensor([[3.0, 0.0], [3.0, 0.0], [3.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    _, metrics = actor_loss(ActorConfig(), ActionDistribution(means), batch)
    assert metrics["action_mse"].item() == pytest.approx(4.5 / 3)


def test_landmarks_are_learned_beside_the_action_and_change_no_action() -> None:
    torch.manual_seed(0)
    head = ActionHead(ActorConfig(hidden_dims=(16,), landmark_weight=2.0), 3, 7)
    chosen = head(torch.randn(4, 3))
    assert chosen.mean.shape == (4, 7) and chosen.landmarks.shape == (4, 7)
    wanted = replace(rows_with(chosen.mean.detach()), landmarks=chosen.landmarks.detach() + 1.0)
    without, _ = actor_loss(ActorConfig(), replace(chosen, landmarks=None), wanted)
    loss, metrics = actor_loss(ActorConfig(landmark_weight=2.0), chosen, wanted)
    assert metrics["landmark_mse"].item() == pytest.approx(1.0, rel=1e-5) and (loss - without).item() == pytest.approx(
        2.0, rel=1e-5
    )
