"""A choice between places to be next, for benchmarks/closed_loop_states.py.

A goal-blind flow proposes the state h steps later, N times: what becomes of this table, whatever the goal. MQE's
d(s', g) says from which of them the goal is nearest, and GCBC, cloned towards later frames of its own episode, drives
there as to any goal. No action is judged, and no dynamics are modelled.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.true_states import TrueStates, seen
from benchmarks.true_states_ahead import EVERY, MARGIN_STEPS, steps_between
from benchmarks.true_states_methods import Answer, Method, load, physical
from mqe_core.learning.networks.flow import fixed_noise
from mqe_core.learning.networks.layers import MeanActor
from mqe_core.policy.contract import NONE_CHOSEN
from mqe_core.robot.arrays import Float32s, Floats

_WIDTHS, _BATCH, _RATE, _UPDATES, _EULER = (256, 256, 256), 256, 1e-3, 6000, 10


class Futures(nn.Module):
    """The state so many steps later, or at the end of the episode, as a flow from noise: its first `moving` numbers."""

    def __init__(self, data: TrueStates) -> None:
        super().__init__()
        self.width, self.moving = data.width, data.moving
        inputs = data.states.shape[1]
        self.velocity = MeanActor(inputs + self.moving + 1, _WIDTHS, self.moving, layer_norm=True)
        for name, size in (("mean", inputs), ("std", inputs), ("scale", self.moving)):
            self.register_buffer(name, torch.ones(size))

    def loss(self, states: Tensor, change: Tensor) -> Tensor:
        """Flow matching of changes (B, moving), in standard deviations, from states as they are seen (B, D)."""
        noise, time = torch.randn_like(change), torch.rand_like(change[:, :1])
        on_the_way = noise + time * (change - noise)
        told = self.velocity(torch.cat([(states - self.mean) / self.std, on_the_way, time], dim=-1))
        return (told - (change - noise)).square().mean()

    @torch.no_grad()
    def forward(self, state: Floats, noise: Tensor) -> Floats:
        """(S,), (N, moving) -> (N, S): what may have become of it."""
        here = ((torch.from_numpy(seen(state)) - self.mean) / self.std).expand(len(noise), -1)
        x = noise
        for step in range(_EULER):
            time = torch.full_like(x[:, :1], step / _EULER)
            x = x + self.velocity(torch.cat([here, x, time], dim=-1)) / _EULER
        found = np.repeat(state[None], len(noise), axis=0)
        found[:, : self.moving] += (x * self.scale).numpy()
        return found


def train_futures(data: TrueStates, horizon: int, seed: int, file: Path) -> Futures:
    """Trained on the data's episodes, kept in `file`; read from there where it is."""
    model = Futures(data)
    if file.exists():
        model.load_state_dict(torch.load(file))
        return model.eval()
    torch.manual_seed(seed)
    model = Futures(data)
    rng, begins = np.random.default_rng(seed), np.flatnonzero(data.valid)
    ends = data.episode_ends[np.searchsorted(data.episode_ends, begins, side="right")]
    later = np.minimum(begins + horizon, ends - 1)
    change = data.states[later, : model.moving] - data.states[begins, : model.moving]
    model.mean.copy_(torch.from_numpy(data.states.mean(0)))
    model.std.copy_(torch.from_numpy(np.maximum(data.states.std(0), 1e-3)))
    model.scale.copy_(torch.from_numpy(change.std(0)))
    optimiser = torch.optim.Adam(model.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _UPDATES)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999))
    for _ in range(_UPDATES):
        rows = rng.integers(len(begins), size=_BATCH)
        loss = model.loss(torch.from_numpy(data.states[begins[rows]]), torch.from_numpy(change[rows]) / model.scale)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        average.update_parameters(model)
    torch.save(average.module.state_dict(), file)
    model.load_state_dict(average.module.state_dict())
    return model.eval()


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
