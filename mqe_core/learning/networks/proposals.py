"""A policy in two halves: a flow proposes where to be h steps later, and the cloned policy goes where the critic says.

The flow sees no goal. It is trained on what was seen h steps later in the data, or where the episode ended, less what
is seen, by flow matching (networks/flow.py). A change counts in its own size (:meth:`ProposalFlow.measure`): noise and
change are then alike, however small a change is beside all that is seen (a step in a wide maze). Rows that wait, whose
change is below 0.22 of the usual one though the episode has h steps left, are left out: where one stands is no place to
go to, and data that wait at their goals would propose it often. Of N proposals that one is taken from which the critic
finds the goal nearest, and the Gaussian policy, cloned alone, is asked for an action towards it as towards any goal. So
it meets only goals as near as those that it was cloned towards, and the critic compares states that lie apart by more
than its error, not actions that lie apart by a step (docs/results-critic.md). All proposals lie h steps ahead: a goal
that is nearer, and that the data go past, is overshot.

As HIQL (arXiv 2307.11949) the policy is asked for a subgoal; there an actor learns it by advantage, here it is chosen
among proposals as in SuSIE (arXiv 2310.10639), by a quasimetric and with no goal in the proposal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mqe_core.learning.networks.actor import Metrics
from mqe_core.learning.networks.encoders import make_encoder
from mqe_core.learning.networks.flow import ChoiceConfig, carried, fixed_noise, matching_error
from mqe_core.learning.networks.layers import MeanActor
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.goal_sampling import AHEAD
from mqe_core.learning.rows.observations import ObservationSpec, Statistics
from mqe_core.learning.run.config import key

_LEAST = 1e-3  # of the largest size: what changes less is not amplified
_AT_REST = 0.05  # mean square of a change in sizes, 1 on average; less is standing still


@dataclass(frozen=True)
class ProposalConfig(ChoiceConfig):
    """Keys of the agents whose critic may choose where the policy goes next."""

    proposal_steps: int = key(
        0,
        "h: the critic chooses among proposals of what is seen so many control steps later, and the policy, cloned "
        "alone, goes there; 0: the policy goes to the goal",
        group="policy",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.proposal_steps < 0:
            raise ValueError(f"proposal_steps must not be negative, got {self.proposal_steps}")
        if self.proposal_steps and self.actor == "flow":
            raise ValueError("proposal_steps is of actor: gaussian; a flow's candidates are actions: set one of them")
        if self.proposal_steps and self.alpha == 0.0:
            raise ValueError("alpha is 0: with proposal_steps the policy is cloned alone, and would learn nothing")
        if self.proposal_steps and self.candidates == 1:
            raise ValueError("proposal_steps needs proposals to choose from: set candidates to 8 or more")

    @property
    def choices(self) -> int:
        return self.candidates if self.proposal_steps else super().choices


class ProposalFlow(nn.Module):
    """What may be seen h steps later: ``candidates`` proposals of fixed noise."""

    noise: Tensor  # (N, S)
    change_size: Tensor  # (S,)

    def __init__(self, config: ProposalConfig, observation: ObservationSpec, statistics: Statistics | None) -> None:
        """ValueError for images: a flow proposes vectors."""
        super().__init__()
        if observation.kind == "pixels":
            raise ValueError(
                "proposal_steps proposes states or features, no images: train an encoder first and name it with "
                "features_of (--config sim_features)"
            )
        size = observation.state_dim
        self.ahead, self.steps = config.proposal_steps, config.flow_steps
        self.encoder = make_encoder(config.encoder, observation, statistics)
        self.register_buffer("change_size", torch.ones(size))
        # LayerNorm as the flow of benchmarks/true_states_subgoals.py has it, on which docs/results-critic.md rests.
        self.velocity = MeanActor(2 * size + 1, config.hidden_dims, size, layer_norm=True)
        # Not in a checkpoint: another N is tried on a finished run.
        self.register_buffer("noise", fixed_noise(config.candidates, size), persistent=False)

    def measure(self, changes: Tensor) -> None:
        """Keep the size of each number's changes: their root mean square in the data's changes in h steps ``(n, S)``,
        and no less than a thousandth of the largest. It is part of the weights.
        """
        sizes = changes.square().mean(0).sqrt()
        largest = float(sizes.max()) or 1.0
        self.change_size.copy_(sizes.clamp_min(_LEAST * largest))

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The flow-matching loss, a scalar, and itself as a metric: a mean over all rows, to which those that wait add
        nothing.
        """
        seen = batch.frames["observation"]
        change = (batch.frames[AHEAD] - seen) / self.change_size
        waits = (change.square().mean(-1) < _AT_REST) & (batch.steps[AHEAD] >= self.ahead)
        loss = (matching_error(self.velocity, self.encoder(seen), change) * ~waits).mean()
        return loss, {"proposal_loss": loss.detach()}

    def forward(self, observations: Tensor) -> Tensor:
        """``(B, S) -> (B, N, S)``."""
        change = carried(self.velocity, self.encoder(observations), self.noise, self.steps)
        return observations[:, None] + change * self.change_size


def actions_towards(actor: nn.Module, observations: Tensor, subgoals: Tensor) -> Tensor:
    """``(B, S), (B, N, S) -> (B, N, A)`` in [-1, 1]: the policy's clipped means."""
    here = observations[:, None].expand_as(subgoals)
    means = actor(here.flatten(0, 1), subgoals.flatten(0, 1)).mean
    return means.clamp(-1.0, 1.0).unflatten(0, subgoals.shape[:2])
