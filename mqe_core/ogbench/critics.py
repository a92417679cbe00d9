"""What an agent's critic says of an action, and how far it thinks a goal is: as its own actor is trained on it."""

from __future__ import annotations

import torch
from torch import Tensor

from mqe_core.learning.agents.cmd import CMDAgent
from mqe_core.learning.agents.crl import CRLAgent, similarity
from mqe_core.learning.agents.gciql import GCIQLAgent
from mqe_core.learning.agents.mqe import MQEAgent
from mqe_core.learning.agents.nsacbc import NSACBCAgent
from mqe_core.learning.agents.qrl import QRLAgent
from mqe_core.learning.agents.tmd import TMDAgent
from mqe_core.learning.networks.actor import Agent


@torch.no_grad()
def action_value(agent: Agent, observation: Tensor, goal: Tensor, actions: Tensor) -> Tensor | None:
    """``(B, ...), (B, ...), (B, A) -> (B,)``: larger is better; None for agents that judge no actions."""
    value: Tensor | None = None
    if isinstance(agent, (MQEAgent, TMDAgent)):
        features, goal_features = agent.critic_encoder(observation), agent.critic_encoder(goal)
        phi = agent.phi(torch.cat([features, actions], dim=-1))
        value = -agent.head(phi, agent.psi(goal_features)).amax(0)
    elif isinstance(agent, CMDAgent):  # a goal needs an action there: none, the mean of many
        features, goal_features = agent.critic_encoder(observation), agent.critic_encoder(goal)
        start = agent.phi(torch.cat([features, actions], dim=-1))
        value = -agent.head(start, agent.phi(torch.cat([goal_features, torch.zeros_like(actions)], dim=-1))).amax(0)
    elif isinstance(agent, CRLAgent):
        phi = agent.critic.phi(torch.cat([agent.critic.phi_encoder(observation), actions], dim=-1))
        value = similarity(phi, agent.critic.psi(agent.critic.psi_encoder(goal))).amin(0)
    elif isinstance(agent, GCIQLAgent):
        value = agent.q(observation, goal, actions).amin(0)
    elif isinstance(agent, NSACBCAgent):
        value = agent.q(observation, goal, actions).mean(0)
    elif isinstance(agent, QRLAgent) and agent.dynamics is not None:
        z, z_goal = (agent.phi(agent.critic_encoder(seen))[0] for seen in (observation, goal))
        value = -agent.head(z + agent.dynamics(torch.cat([z, actions], dim=-1))[0], z_goal)
    return value


@torch.no_grad()
def distance(agent: Agent, observation: Tensor, goal: Tensor) -> Tensor | None:
    """``(B, ...), (B, ...) -> (B,)``, in whatever unit: the steps to the goal, or minus the value of the policy's
    action; None for agents that know neither.
    """
    action, steps = agent.deployed(observation, goal)
    if steps is not None:
        return steps
    value = action_value(agent, observation, goal, action)
    return None if value is None else -value
