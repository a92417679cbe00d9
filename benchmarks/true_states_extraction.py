"""MQE's published extraction with its weight, for benchmarks/closed_loop_states.py: a Gaussian policy climbs the Q term
of a critic that is already there and stays near the data, ``-mean(q) / mean|q| - alpha * mean log_prob``.

The critic is that of a run which chooses among proposals as well, so both ways of using it are compared with the same
one. It does not change while the policy learns. Cloned is towards later frames of the own episode. The Q term sees
these goals, or half of the time those of other rows of the same scene, whatever their order (equation 15 of the paper
pairs all rows): on a table of its own only these can be reached.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mqe_core.learning.agents.mqe import MQEAgent
from mqe_core.learning.networks.actor import Metrics
from mqe_core.learning.networks.actor_losses import actor_loss
from mqe_core.learning.rows.batch import Batch

CRITIC_PARTS = ("critic_encoder", "phi", "psi", "head")


class Extraction:
    """What takes the place of an agent's loss. `critic`: a trained agent's weights, of which the critic's are taken.
    `scenes`: of a batch, whose row i is of scene i mod them. `elsewhere`: half of the Q term's goals are other rows'.
    """

    def __init__(self, agent: MQEAgent, critic: dict[str, Tensor], scenes: int, elsewhere: bool) -> None:
        mine = {name: value for name, value in critic.items() if name.split(".")[0] in CRITIC_PARTS}
        missing = agent.load_state_dict(mine, strict=False).missing_keys
        assert all(name.split(".")[0] not in CRITIC_PARTS for name in missing), f"no critic: {missing}"
        assert scenes > 0 and not agent.config.actor_goals_crossed, "rows have a goal each, and known scenes"
        self.agent, self.scenes, self.elsewhere = agent, scenes, elsewhere

    def __call__(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """As `agent.loss`, of the policy alone."""
        agent, config = self.agent, self.agent.config
        states, goals = batch.frames["observation"], batch.frames["actor_goal"]
        chosen = agent.actor(states, goals)
        if not self.elsewhere:
            return actor_loss(config, chosen, batch, self._value(states, agent.tried(chosen), goals), config.q_weight)
        shift = int(torch.randint(1, len(states) // self.scenes, ()))
        others = goals_elsewhere(goals, self.scenes, shift)
        tried = agent.tried(agent.actor(states, others))
        return actor_loss(config, chosen, batch, self._value(states, tried, others), config.q_weight)

    def _value(self, states: Tensor, actions: Tensor, goals: Tensor) -> Tensor:
        agent = self.agent
        with torch.no_grad():
            seen, psi_goal = agent.critic_encoder(states), agent.psi(agent.critic_encoder(goals))
        return agent.action_value(seen, actions, psi_goal)


def goals_elsewhere(goals: Tensor, scenes: int, shift: int) -> Tensor:
    """(B, S): the second half of the goals is other rows' of the same scenes, `shift` rounds of `scenes` rows away."""
    half = len(goals) // 2
    assert len(goals) % scenes == 0 and 0 < shift < len(goals) // scenes, "whole rounds, and not its own"
    return torch.cat([goals[:half], torch.roll(goals, scenes * shift, dims=0)[half:]])
