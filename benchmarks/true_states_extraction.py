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
from mqe_core.learning.networks.actor import Metrics, frozen
from mqe_core.learning.networks.actor_losses import actor_loss
from mqe_core.learning.rows.batch import Batch

CRITIC_PARTS = ("critic_encoder", "phi", "psi", "head")


class Extraction:
    """What takes the place of an agent's loss: `scenes` as the rows of a batch are drawn, row i of scene i mod them."""

    def __init__(self, agent: MQEAgent, critic: dict[str, Tensor], scenes: int, elsewhere: bool) -> None:
        mine = {name: value for name, value in critic.items() if name.split(".")[0] in CRITIC_PARTS}
        missing = agent.load_state_dict(mine, strict=False).missing_keys
        assert all(name.split(".")[0] not in CRITIC_PARTS for name in missing), f"no critic: {missing}"
        self.agent, self.scenes, self.elsewhere = agent, scenes, elsewhere

    def __call__(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """As `agent.loss`, of the policy alone."""
        agent, config = self.agent, self.agent.config
        states, goals = batch.frames["observation"], batch.frames["actor_goal"]
        chosen = agent.actor(states, goals)
        if not self.elsewhere:
            return actor_loss(config, chosen, batch, self.value(states, agent.tried(chosen), goals), config.q_weight)
        half, rounds = len(states) // 2, len(states) // self.scenes
        others = torch.roll(goals, self.scenes * int(torch.randint(1, rounds, ())), dims=0)
        others = torch.cat([goals[:half], others[half:]])
        tried = agent.tried(agent.actor(states, others))
        return actor_loss(config, chosen, batch, self.value(states, tried, others), config.q_weight)

    def value(self, states: Tensor, actions: Tensor, goals: Tensor) -> Tensor:
        """(B,): ``min_e -d(phi_e(s, a), psi_e(g))``, with a gradient for the actions alone."""
        agent = self.agent
        with torch.no_grad():
            seen, psi_goal = agent.critic_encoder(states), agent.psi(agent.critic_encoder(goals))
        phi = frozen(agent.phi, torch.cat([seen, actions], dim=-1))
        return -frozen(agent.head, phi, psi_goal).amax(0)
