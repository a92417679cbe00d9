"""A choice between places to be next, for benchmarks/closed_loop_states.py.

A goal-blind flow proposes the state h steps later, N times: what becomes of this table, whatever the goal. MQE's
d(s', g) says from which of them the goal is nearest, and GCBC, cloned towards later frames of its own episode, drives
there as to any goal. No action is judged, and no dynamics are modelled.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.true_states import TrueStates, seen
from benchmarks.true_states_ahead import EVERY, MARGIN_STEPS, steps_between
from benchmarks.true_states_methods import Answer, Method, load, physical
from benchmarks.true_states_network import WIDTHS, StateNetwork, learned
from mqe_core.learning.networks.flow import fixed_noise, matching_error
from mqe_core.learning.networks.layers import MeanActor
from mqe_core.policy.contract import NONE_CHOSEN
from mqe_core.robot.arrays import Float32s, Floats, Ints

_UPDATES, _EULER = 6000, 10


class Futures(StateNetwork):
    """The state so many steps later, or at the end of the episode, as a flow from noise."""

    def __init__(self, data: TrueStates) -> None:
        super().__init__(data)
        self.velocity = MeanActor(self.inputs + self.moving + 1, WIDTHS, self.moving, layer_norm=True)

    @torch.no_grad()
    def forward(self, state: Floats, noise: Tensor) -> Floats:
        """(S,), (N, moving) -> (N, S): what may have become of it."""
        here, x = self.standard(torch.from_numpy(seen(state))).expand(len(noise), -1), noise
        for step in range(_EULER):  # not `carried`, which rounds otherwise: the figures in the docs are of this
            time = torch.full_like(x[:, :1], step / _EULER)
            x = x + self.velocity(torch.cat([here, x, time], dim=-1)) / _EULER
        return self.moved(np.repeat(state[None], len(noise), axis=0), x)


def train_futures(data: TrueStates, horizon: int, seed: int, file: Path) -> Futures:
    """Trained on the data's episodes, kept in `file`; read from there where it is."""

    def loss_of(futures: Futures, states: Tensor, change: Tensor, frames: Ints) -> Tensor:
        return matching_error(futures.velocity, futures.standard(states), change).mean()

    return learned(Futures, data, horizon, loss_of, _UPDATES, seed, file, average=0.999)


class SubgoalChooser:
    """`method.candidates` proposals, `method.horizon` steps ahead, of fixed noise. It chooses at every step, and keeps
    the proposal of the noise chosen last until another is nearer by MARGIN_STEPS. Without a critic any one is taken
    for EVERY steps.
    """

    def __init__(self, data: TrueStates, method: Method, seed: int, folder: Path) -> None:
        self.method = method
        self._driver, self.scale = load(data, method.actor, seed, folder)
        self._critic = None if method.critic is None else load(data, method.critic, seed, folder)[0]
        h = method.horizon
        self._futures = train_futures(data, h, seed, folder / f"futures-{h}-{seed}.pt")
        self._noise = fixed_noise(method.candidates, data.moving)
        self._left = 0

    @torch.inference_mode()
    def act(self, state: Float32s, goal: Float32s, last: int, script: Floats, rng: np.random.Generator) -> Answer:
        """As a Chooser's."""
        steps, distances, chosen = float("nan"), np.full(1, np.nan), 0
        if self._critic is None and (last == NONE_CHOSEN or self._left == 0):
            drawn = rng.standard_normal((1, self._futures.moving)).astype(np.float32)
            self._noise, self._left = torch.from_numpy(drawn), EVERY
        self._left -= 1
        there = seen(self._futures(state[: self._futures.width].astype(np.float64), self._noise))
        here = torch.from_numpy(state).expand(len(there), -1)
        actions = self._driver.deployed(here, torch.from_numpy(there))[0]
        if self._critic is not None:
            distances = steps_between(self._critic, there, goal, largest=True)
            chosen = int(distances.argmin())
            if last != NONE_CHOSEN and distances[last] <= distances[chosen] + MARGIN_STEPS:
                chosen = last
            steps = float(steps_between(self._critic, state[None], goal)[0])
        found = physical(self.scale, actions)
        return Answer(found[chosen], chosen, found, distances, steps)
