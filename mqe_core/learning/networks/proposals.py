"""A policy in two halves: a flow proposes where to be h steps later, and the cloned policy goes where the critic says.

The flow sees no goal. It is trained on the change from what is seen to what was seen h steps later in the data, or
where the episode ended, by flow matching (networks/flow.py). What is seen is the standardised state or features, or
with ``representation_dim`` the few numbers that critic and policy are left of them (networks/bottleneck.py): of these
a flow makes better ones, and neither can read what is wrong in the rest.

Of N proposals that one is taken from which the critic finds the goal nearest, and the Gaussian policy, cloned alone, is
asked for an action towards it as towards any goal. So it meets only goals as near as those that it was cloned towards,
and the critic compares states that lie apart by more than its error, not actions that lie apart by a step
(docs/results-critic.md). All proposals lie h steps ahead: a goal that is nearer, and that the data go past, is
overshot.

As HIQL (arXiv 2307.11949) the policy is asked for a subgoal; there an actor learns it by advantage, here it is chosen
among proposals as in SuSIE (arXiv 2310.10639), by a quasimetric and with no goal in the proposal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mqe_core.learning.networks.actor import GoalActor, Metrics
from mqe_core.learning.networks.flow import ChoiceConfig, carried, fixed_noise, matching_error
from mqe_core.learning.networks.layers import MeanActor
from mqe_core.learning.rows.observations import ObservationSpec
from mqe_core.learning.run.config import key


@dataclass(frozen=True)
class ProposalConfig(ChoiceConfig):
    """Keys of the agents whose critic may choose where the policy goes next."""

    proposal_steps: int = key(
        0,
        "h: the critic chooses among proposals of what is seen so many control steps later, and the policy, cloned "
        "alone, goes there; 0: the policy goes to the goal",
        group="policy",
    )

    representation_dim: int = key(
        0,
        "numbers in which critic and policy see a goal, and in which it is proposed, with proposal_steps (64); 0: all "
        "that is seen",
        group="policy",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("proposal_steps", "representation_dim"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.representation_dim == 1:
            raise ValueError(
                "representation_dim must be 2 or more: of one number nothing is left once it is normalised"
            )
        if self.representation_dim and not self.proposal_steps:
            raise ValueError("representation_dim is of proposal_steps: set both, or neither")
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
    """What may be seen h steps later, as the critic and the policy see goals: ``candidates`` proposals of fixed noise.

    It works on what they have made of an observation: ``features (B, F)``, and those behind the bottleneck ``(B, C)``.
    """

    noise: Tensor

    def __init__(self, config: ProposalConfig, features: int, size: int) -> None:
        super().__init__()
        self.steps = config.flow_steps
        self.velocity = MeanActor(features + size + 1, config.hidden_dims, size, config.actor_layer_norm)
        # Not in a checkpoint: another N is tried on a finished run.
        self.register_buffer("noise", fixed_noise(config.candidates, size), persistent=False)

    def loss(self, features: Tensor, seen: Tensor, later: Tensor) -> tuple[Tensor, Metrics]:
        """The flow-matching loss, and itself as a metric; no gradient reaches what it is given."""
        change = (later - seen).detach()
        loss = matching_error(self.velocity, features.detach(), change).mean()
        return loss, {"proposal_loss": loss.detach()}

    def forward(self, features: Tensor, seen: Tensor) -> Tensor:
        """``(B, F), (B, C) -> (B, N, C)``."""
        return seen[:, None] + carried(self.velocity, features, self.noise, self.steps)


def actions_towards(actor: GoalActor, observations: Tensor, subgoals: Tensor) -> Tensor:
    """``(B, S), (B, N, C) -> (B, N, A)`` in [-1, 1]: the policy's clipped means."""
    here = actor.encoder.encoder(observations)[:, None].expand(-1, subgoals.shape[1], -1)
    means = actor.head(torch.cat([here, subgoals], dim=-1).flatten(0, 1)).mean
    return means.clamp(-1.0, 1.0).unflatten(0, subgoals.shape[:2])


def require_vectors(observation: ObservationSpec) -> None:
    """ValueError for images: a flow proposes vectors."""
    if observation.kind == "pixels":
        raise ValueError(
            "proposal_steps proposes states or features, no images: train an encoder first and name it with "
            "features_of (--config sim_features)"
        )
