"""How policies are trained: DDPG+BC raises a value and stays close to the data, AWR imitates what gains."""

from __future__ import annotations

from torch import Tensor

from mqe_core.learning.networks.actor import ActionDistribution, ActorConfig, Metrics
from mqe_core.learning.rows.batch import Batch

ACTOR_LOSSES = ("ddpgbc", "awr")  # official names of the two
LARGEST_WEIGHT = 100.0  # of a row in AWR


def actor_loss(
    config: ActorConfig,
    chosen: ActionDistribution,
    batch: Batch,
    q: Tensor | None = None,
    q_weight: float = 1.0,
    normalise_q: bool = True,
) -> tuple[Tensor, Metrics]:
    """DDPG+BC over the batch's pairs: ``-q_weight * mean(q) / mean|q| - alpha * mean log_prob(actions)``, and the
    landmarks' squared error; without ``normalise_q`` q is not divided by its mean size.

    ``chosen`` is the policy's answer to each of the P pairs; ``q (P,)`` the value of the action that it tries, None
    where there is no Q term. Every row weighs the same in the means, however many goals it meets.
    """
    (row, _), weights = batch.rows_and_goals, batch.pair_weights
    actions = batch.actions[row]
    bc_loss = -(chosen.log_prob(actions) * weights).sum()
    loss = config.alpha * bc_loss
    error = ((chosen.mean - actions).square().mean(-1) * weights).sum()
    metrics = {"bc_loss": bc_loss.detach(), "action_mse": error.detach()}
    if q is not None:
        q_mean = (q * weights).sum()
        q_loss = -q_weight * q_mean
        if normalise_q:
            q_loss = q_loss / ((q.abs() * weights).sum().detach() + 1e-6)
        loss = loss + q_loss
        metrics |= {"q_mean": q_mean.detach(), "q_loss": q_loss.detach()}
    return _with_landmarks(loss, metrics, config, chosen, batch)


def awr_loss(
    config: ActorConfig, chosen: ActionDistribution, batch: Batch, advantage: Tensor
) -> tuple[Tensor, Metrics]:
    """Advantage-weighted regression of the actions over the batch's pairs, and the landmarks' squared error.

    ``chosen`` and ``advantage (P,)`` as in :func:`actor_loss`; see :func:`weighted_cloning`.
    """
    row, _ = batch.rows_and_goals
    loss, metrics = weighted_cloning(chosen, batch.actions[row], advantage, config.alpha, batch.pair_weights)
    return _with_landmarks(loss, metrics, config, chosen, batch)


def weighted_cloning(
    chosen: ActionDistribution, targets: Tensor, advantage: Tensor, alpha: float, weights: Tensor
) -> tuple[Tensor, Metrics]:
    """``-sum weights * min(exp(alpha * advantage), 100) * log_prob(targets)``, of ``targets (P, A)`` and
    ``advantage, weights (P,)``; the weights sum to 1, and no gradient reaches the advantage.
    """
    factor = (alpha * advantage.detach()).exp().clamp(max=LARGEST_WEIGHT)
    loss = -(factor * chosen.log_prob(targets) * weights).sum()
    error = ((chosen.mean - targets).square().mean(-1) * weights).sum()
    return loss, {
        "awr_loss": loss.detach(),
        "awr_weight": (factor * weights).sum(),
        "advantage": (advantage.detach() * weights).sum(),
        "action_mse": error.detach(),
    }


def _with_landmarks(
    loss: Tensor, metrics: Metrics, config: ActorConfig, chosen: ActionDistribution, batch: Batch
) -> tuple[Tensor, Metrics]:
    """The loss plus the landmarks' squared error, where the policy predicts them."""
    if chosen.landmarks is None:
        return loss, metrics
    assert batch.landmarks is not None, "a policy that predicts landmarks is trained on them"
    row, _ = batch.rows_and_goals
    landmark_loss = ((chosen.landmarks - batch.landmarks[row]).square().mean(-1) * batch.pair_weights).sum()
    return loss + config.landmark_weight * landmark_loss, {**metrics, "landmark_mse": landmark_loss.detach()}
