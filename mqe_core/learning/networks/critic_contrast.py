"""Side terms of a quasimetric critic that is to choose: between actions, between goals, and against other scenes.

All are one cross entropy: of d((s, a), g) or d(s, g) in nats over what a row could be mistaken for, its own among it.
The backup alone leaves d's dependence on the action to what repeats in the data, and holds the goals of other scenes
where the own one is: nothing says that they are far (docs/results-critic-actions.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mqe_core.learning.networks.actor import Metrics
from mqe_core.learning.networks.heads import Head, HeadConfig
from mqe_core.learning.networks.layers import EnsembleMLP
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.run.config import key

_TEMPERATURE = 0.1  # nats
_OTHER_ACTIONS = 7  # candidates beside the own action


@dataclass(frozen=True)
class ContrastConfig(HeadConfig):
    """Weights of the side terms, 0: none; and whether scenes are told beside the critic (`scene_distance.py`)."""

    action_contrast: float = key(
        0.0, "weight of telling, by d((s,a),g), the own action from those of other rows", group="critic"
    )
    goal_contrast: float = key(
        0.0,
        "weight of telling, by d((s,a),g), the own goal from those of other rows that are not ahead in its scene",
        group="critic",
    )
    scene_contrast: float = key(
        0.0, "weight of telling, by d(s,g), the own goal from those of other scenes (0.1)", group="critic"
    )
    scene_distance: bool = key(
        False,
        "learn beside the critic which pictures show one scene; steps_to_goal of a goal of another scene is far then",
        group="critic",
    )

    @property
    def contrasts(self) -> bool:
        """Whether there is any side term."""
        return max(self.action_contrast, self.goal_contrast, self.scene_contrast) > 0.0

    @property
    def tells_scenes(self) -> bool:
        """Whether a batch has to say which scene a row is of."""
        return self.contrasts or self.scene_distance

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("action_contrast", "goal_contrast", "scene_contrast"):
            if getattr(self, name) < 0.0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True)
class Origin:
    """Where B rows come from, ``(B,) int64`` each: their scene, the frame of the observation, and that of the value
    goal.
    """

    scene: Tensor
    begin: Tensor
    goal: Tensor

    @classmethod
    def of(cls, batch: Batch) -> Origin:
        """Of a batch of value goals."""
        assert batch.origin is not None, "goals of other scenes are told by their scene"
        scene, begin = batch.origin.T
        return cls(scene, begin, begin + batch.steps["value_goal"].long())

    def same_scene(self) -> Tensor:
        """``(B, B) bool``: row i and goal j were seen on one table."""
        return self.scene[:, None] == self.scene

    def ahead(self) -> Tensor:
        """``(B, B) bool``: goal j comes later in row i's scene, so it can be reached from there."""
        return self.same_scene() & (self.goal >= self.begin[:, None])


def contrast_loss(
    config: ContrastConfig,
    head: Head,
    phi: EnsembleMLP,
    features: Tensor,
    actions: Tensor,
    phi_sa: Tensor,
    psi_s: Tensor,
    psi_goal: Tensor,
    origin: Origin,
) -> tuple[Tensor, Metrics]:
    """The weighted sum of the terms that ``config`` has, and their metrics.

    ``features (B, F)`` and ``actions (B, A)`` are what ``phi`` made ``phi_sa (E, B, D)`` of; ``psi_s`` and ``psi_goal``
    are ``(E, B, D)``. A goal that can be reached from a row is no candidate of it, nor is one of its scene in the term
    of other scenes.
    """
    total, metrics = phi_sa.new_zeros(()), {}
    own = torch.arange(len(actions), device=actions.device)
    if config.action_contrast > 0.0:
        distance = head(phi.of_candidates(features, _of_other_rows(actions)), psi_goal[:, :, None])
        term, metrics["action_contrast"] = own_is_nearest(distance, torch.zeros_like(own))
        total = total + config.action_contrast * term
    if config.goal_contrast > 0.0:
        term, metrics["goal_contrast"] = own_is_nearest(head.matrix(phi_sa, psi_goal), own, origin.ahead())
        total = total + config.goal_contrast * term
    if config.scene_contrast > 0.0:
        term, metrics["scene_contrast"] = own_is_nearest(head.matrix(psi_s, psi_goal), own, origin.same_scene())
        total = total + config.scene_contrast * term
    return total, metrics


def own_is_nearest(distance: Tensor, own: Tensor, masked: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Cross entropy of ``(E, B, C)``, in which row i's own candidate is column ``own[i]`` of ``(B,)``, and the same
    detached. ``masked (B, C) bool`` are no candidates; the own one always is.
    """
    logits = -distance / _TEMPERATURE
    if masked is not None:
        others = masked & (torch.arange(masked.shape[1], device=own.device) != own[:, None])
        logits = logits.masked_fill(others, -torch.inf)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), own.repeat(len(distance)))
    return loss, loss.detach()


def _of_other_rows(actions: Tensor) -> Tensor:
    """``(B, C, A)``: the own action, in column 0, and those of rows so and so many further on.

    With `batch_scenes` at B / 4 those are rows of another scene and of the same one by turns.
    """
    rows = len(actions)
    steps = sorted({number * rows // (_OTHER_ACTIONS + 1) for number in range(_OTHER_ACTIONS + 1)})
    index = (torch.arange(rows)[:, None] + torch.tensor(steps)) % rows
    return actions[index.to(actions.device)]
