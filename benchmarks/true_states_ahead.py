"""A choice by where it leads: the flow is followed some steps ahead in a learned model of the table, and d(s, g) is
asked of the state that it comes to. For benchmarks/closed_loop_states.py.

MQE's own policy needs no model; its critic judges an action by d((s, a), g) alone. So this is no part of the method:
it tells at what horizon the distance between states can choose.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.true_states import TrueStates, seen
from benchmarks.true_states_methods import Answer, Method, load, physical
from benchmarks.true_states_network import WIDTHS, StateNetwork, learned
from mqe_core.learning.agents.gciql import GCIQLAgent
from mqe_core.learning.agents.mqe import MQEAgent
from mqe_core.learning.networks.actor import Agent
from mqe_core.learning.networks.flow import FlowActor, decided
from mqe_core.learning.networks.layers import MeanActor
from mqe_core.learning.networks.values import steps_of_value
from mqe_core.policy.contract import NONE_CHOSEN
from mqe_core.robot.arrays import Float32s, Floats, Ints

_UPDATES = 5000
MARGIN_STEPS = 1.0  # by which a new way must end nearer to the goal than the one that is being followed
EVERY = 5  # steps after which the way is chosen anew


class StateModel(StateNetwork):
    """The next state of (s, a)."""

    def __init__(self, data: TrueStates) -> None:
        super().__init__(data)
        self.net = MeanActor(self.inputs + 7, WIDTHS, self.moving, layer_norm=True)

    def changes(self, states: Tensor, actions: Tensor) -> Tensor:
        """Of states as they are seen (B, D) and actions (B, 7) in [-1, 1], (B, moving) in standard deviations."""
        return self.net(torch.cat([self.standard(states), actions], dim=-1))

    @torch.no_grad()
    def forward(self, states: Floats, actions: Tensor) -> Floats:
        """(B, S), (B, 7) in [-1, 1] -> (B, S)."""
        return self.moved(states, self.changes(torch.from_numpy(seen(states)), actions))


def train_model(data: TrueStates, scaled: Float32s, seed: int, file: Path) -> StateModel:
    """A model of the data's transitions, kept in `file`; read from there where it is. `scaled` (N, 7): its actions."""
    actions = decided(torch.from_numpy(scaled))

    def loss_of(model: StateModel, states: Tensor, change: Tensor, frames: Ints) -> Tensor:
        return nn.functional.smooth_l1_loss(model.changes(states, actions[torch.from_numpy(frames)]), change)

    return learned(StateModel, data, 1, loss_of, _UPDATES, seed, file)


@torch.no_grad()
def steps_between(agent: Agent, states: Float32s, goal: Float32s, largest: bool = False) -> Floats:
    """d(s, g) in control steps of states as they are seen (n, D) to one goal (D,), (n,): the mean of an ensemble's or
    their largest.
    """
    here, there = torch.from_numpy(states), torch.from_numpy(goal)[None]
    if isinstance(agent, GCIQLAgent):
        found = steps_of_value(agent.value(here, there.expand(len(here), -1))[0], agent.config)
    else:
        assert isinstance(agent, MQEAgent)
        psi_s, psi_goal = agent.psi(agent.critic_encoder(here)), agent.psi(agent.critic_encoder(there))
        each = agent.head(psi_s, psi_goal.expand_as(psi_s))
        found = (each.amax(0) if largest else each.mean(0)) / -np.log(agent.config.discount)
    return found.numpy().astype(np.float64)


@torch.no_grad()
def follow(flow: FlowActor, states: Float32s, goal: Float32s, noise: Tensor) -> Tensor:
    """The actions (B, 7) that a flow makes of one noise (B, 7) for each of the states (B, D) as they are seen."""
    here = torch.from_numpy(states)
    return flow.sample(here, torch.from_numpy(goal).expand(len(here), -1), noise[:, None])[:, 0]


def futures(model: StateModel, flow: FlowActor, now: Floats, goal: Float32s, noise: Tensor) -> Floats:
    """What the model says of the ways from one state (S,) with noise (h, N, 7): (h, N, S), after each step."""
    states, found = np.repeat(now[None], noise.shape[1], axis=0), []
    for drawn in noise:
        states = model(states, follow(flow, seen(states), goal, drawn))
        found.append(states)
    return np.array(found)


class Planner:
    """Of `candidates` ways, each the flow of other noise for `horizon` steps, the one that ends nearest to the goal.

    A way is followed for EVERY steps, by the flow of its noise in the states that really come. Then it competes, as
    far as it was planned, with fresh ones. Without a critic any one is taken.
    """

    def __init__(self, data: TrueStates, method: Method, seed: int, folder: Path) -> None:
        self.method = method
        agent, self.scale = load(data, method.actor, seed, folder)
        assert isinstance(agent.actor, FlowActor)
        self._flow = agent.actor
        self._critic = None if method.critic is None else load(data, method.critic, seed, folder)[0]
        self._model = train_model(data, self.scale.normalise(data.actions), seed, folder / f"model-{seed}.pt")
        self._plan, self._left = torch.zeros(0, 7), 0

    def act(self, state: Float32s, goal: Float32s, last: int, script: Floats, rng: np.random.Generator) -> Answer:
        """As a Chooser's. Candidates and distances are those of the moment at which the way was chosen."""
        now = state[: self._model.width].astype(np.float64)
        if last == NONE_CHOSEN:
            self._plan, self._left = self._plan[:0], 0
        if self._left == 0:
            self._choose(now, goal, rng)
        action = physical(self.scale, follow(self._flow, state[None], goal, self._plan[:1]))
        self._plan, self._left = self._plan[1:], self._left - 1
        steps = float("nan") if self._critic is None else float(steps_between(self._critic, state[None], goal)[0])
        return Answer(action[0], 0, action, np.full(1, np.nan), steps)

    def _choose(self, now: Floats, goal: Float32s, rng: np.random.Generator) -> None:
        horizon, count = self.method.horizon, self.method.candidates
        noise = torch.from_numpy(rng.standard_normal((horizon, count, 7)).astype(np.float32))
        kept = len(self._plan)
        noise[:kept, 0] = self._plan
        if self._critic is None:
            best = int(rng.integers(count))
        else:
            ends = futures(self._model, self._flow, now, goal, noise)[-1]
            distances = steps_between(self._critic, seen(ends), goal)
            best = int(distances.argmin())
            if kept and distances[0] <= distances[best] + MARGIN_STEPS:
                best = 0
        self._plan, self._left = noise[:, best], min(EVERY, horizon)
