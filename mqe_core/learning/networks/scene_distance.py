"""A distance between scenes, beside the critic's: whether two pictures show one table, whatever the arm has done there.

The critic's own distance says nothing of goals of other scenes, as no row ever gets there. A term in it that pushes
them away (`scene_contrast`) costs the order of the goals that can be reached, and the frames near them. So this one is
learned apart, on the critic's features, and moves neither critic nor policy. It is no part of the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mqe_core.learning.networks.layers import EnsembleMLP

_SIZE = 64  # numbers of an embedding
_TEMPERATURE = 0.1  # of the root of its mean squared difference, for one nat
_NOISE = 0.3  # of each feature's deviation in the batch: scenes are few, and are soon known by heart
_DECAY = 0.99  # of the running means
_SHARE = 0.4  # of the way from pairs of one scene to pairs of two
_STEPS = 100.0  # control steps that pictures of two scenes are apart, on average
_NEVER = -1e4  # nats; a whole row of -inf has no gradient
_UNSEEN = 1e6  # nats; a mean of pairs that were not met yet


class SceneDistance(nn.Module):
    """E embeddings of single pictures' ``features``, and how far apart they are in nats.

    How many nats lie between two scenes depends on how alike the data's scenes are. So their running means over
    training, of pairs of one scene and of two, say what counts. Pairs nearer than `_SHARE` of the way between the
    means are 0 steps apart, so that the steps to a goal of the own scene stay the critic's.
    """

    of_one: Tensor
    of_two: Tensor

    def __init__(self, members: int, features: int, hidden_dims: Sequence[int]) -> None:
        super().__init__()
        self.network = EnsembleMLP(members, features, hidden_dims, _SIZE)
        for name in ("of_one", "of_two"):
            self.register_buffer(name, torch.tensor(_UNSEEN))

    def forward(self, features: Tensor, goal_features: Tensor) -> Tensor:
        """``(B, F), (B, F) -> (B,)`` control steps: 0 for pictures that may be of one scene."""
        apart = self.network(features) - self.network(goal_features)
        nats = apart.square().mean(-1).sqrt().mean(0) / _TEMPERATURE
        least = self.of_one + _SHARE * (self.of_two - self.of_one)
        return _STEPS * (nats - least).relu() / (self.of_two - least).clamp_min(1.0)

    def loss(
        self, features: Tensor, goal_features: Tensor, same_scene: Tensor, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Cross entropy of each pair of one scene against the row's goals of other scenes; 0 where there is one scene.

        ``(B, F)`` twice, without gradient to what made them; ``same_scene (B, B) bool`` of row i and goal j, where
        each row's own goal is; ``noise`` draws standard normal numbers of a shape.
        """
        both = torch.cat([features, goal_features]).detach()
        both = both + _NOISE * both.std(0) * noise(both)
        a, b = self.network(both).split(len(features), dim=1)  # (E, B, _SIZE)
        squares = a.square().mean(-1)[:, :, None] + b.square().mean(-1)[:, None]
        nats = (squares - 2.0 * a @ b.mT / _SIZE).clamp_min(1e-6).sqrt() / _TEMPERATURE
        if torch.is_grad_enabled():
            self._remember(nats.detach().mean(0), same_scene)
        others = (-nats).masked_fill(same_scene, _NEVER).logsumexp(-1, keepdim=True)
        each = nn.functional.softplus(others + nats) * same_scene
        return (each.sum(-1) / same_scene.sum(-1)).mean()

    def _remember(self, nats: Tensor, same_scene: Tensor) -> None:
        for mean, pairs in ((self.of_one, same_scene), (self.of_two, ~same_scene)):
            count = pairs.sum()
            now = (nats * pairs).sum() / count
            later = torch.where(mean < _UNSEEN, _DECAY * mean + (1.0 - _DECAY) * now, now)
            mean.copy_(torch.where(count > 0, later, mean))
