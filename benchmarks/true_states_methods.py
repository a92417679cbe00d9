"""What benchmarks/closed_loop_states.py compares: how each agent is trained, and who then chooses the action.

All agents learn on the same frames and actions, as many updates, and the actor's goals are later frames of the own
episode: no actor ever meets the goal of a chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.true_states import TrueStates
from mqe_core.learning.agents.gciql import GCIQLAgent
from mqe_core.learning.agents.mqe import MQEAgent
from mqe_core.learning.networks.actor import Agent
from mqe_core.learning.networks.flow import FlowActor, fixed_noise
from mqe_core.learning.rows.actions import ActionScale
from mqe_core.learning.run.config import read_values
from mqe_core.learning.run.run_config import keys_for, make_config
from mqe_core.learning.run.trainer import Trainer
from mqe_core.robot.arrays import Floats

# Else as the preset sim_features has it; half its batch, of as many rows a scene.
_SHARED: dict[str, Any] = {
    "observation": "state", "feature_copies": 1, "validation_fraction": 0.0, "batch_size": 64, "batch_scenes": 16,
}  # fmt: skip
_FLOW: dict[str, Any] = {"actor": "flow", "alpha": 1.0}
_CONTRASTS: dict[str, Any] = {"action_contrast": 1.0, "goal_contrast": 1.0, "scene_contrast": 0.1}
RUNS: dict[str, dict[str, Any]] = {
    "gcbc": {"agent": "gcbc"},
    "gciql": {"agent": "gciql"},
    "tra": {"agent": "tra", "alignment_weight": 32.0},
    "crl": {"agent": "crl"},
    "mqe": {"agent": "mqe"},
    "flow": {"agent": "gcbc", **_FLOW},
    "blind": {"agent": "mqe", **_FLOW, **_CONTRASTS, "actor_sees_goal": False},
    "critic": {"agent": "mqe", **_FLOW, **_CONTRASTS},
    "critic plain": {"agent": "mqe", **_FLOW},
    "critic gciql": {"agent": "gciql", **_FLOW},
    "critic p1": {"agent": "mqe", **_FLOW, **_CONTRASTS, "next_state_sample": 1.0},
    "critic no invariance": {"agent": "mqe", **_FLOW, **_CONTRASTS, "invariance_weight": 0.0},
}


@dataclass(frozen=True)
class Method:
    """The actor of the run `actor`, and of `candidates` of its actions the one that `choice` takes: none (there is one
    mean), first (noise 0), random, critic (that of the run `critic`) or script (the one nearest to the script's)."""

    actor: str
    choice: str = "none"
    critic: str | None = None
    candidates: int = 32


METHODS = {
    **{name: Method(name) for name in ("gcbc", "gciql", "tra", "crl", "mqe")},
    "flow, one": Method("flow", "first", None, 1),
    "flow, random of 32": Method("flow", "random"),
    "flow, MQE+contrasts of 32": Method("flow", "critic", "critic"),
    "flow, MQE+contrasts of 8": Method("flow", "critic", "critic", 8),
    "flow, plain MQE of 32": Method("flow", "critic", "critic plain"),
    "flow, GCIQL of 32": Method("flow", "critic", "critic gciql"),
    "flow, p=1 of 32": Method("flow", "critic", "critic p1"),
    "flow, no invariance of 32": Method("flow", "critic", "critic no invariance"),
    "blind, MQE+contrasts of 32": Method("blind", "critic", "critic"),
    "blind, random of 32": Method("blind", "random"),
    "flow, script of 32": Method("flow", "script"),
    "blind, script of 32": Method("blind", "script"),
}


def train(data: TrueStates, name: str, seed: int, steps: int, folder: Path) -> None:
    """Train the run `name` and keep its weights in `folder`; nothing where they are there."""
    out = _file(folder, name, seed)
    if out.exists():
        return
    trainer = _trainer(data, name, seed, steps)
    for _ in range(steps):
        trainer.update()
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weights": trainer.policy_weights(), "metrics": trainer.means.take()}, out)


def _trainer(data: TrueStates, name: str, seed: int, steps: int) -> Trainer:
    values = keys_for(RUNS[name]["agent"], read_values(Path("sim_features"))) | _SHARED | RUNS[name]
    return Trainer(data, make_config(values | {"seed": seed, "steps": steps, "threads": 1, "device": "cpu"}), False)


def _file(folder: Path, name: str, seed: int) -> Path:
    return folder / f"{name.replace(' ', '_')}-{seed}.pt"


@dataclass(frozen=True)
class Answer:
    """An action (7,) in physical units, which of the candidates (N, 7) it is, and control steps to the goal."""

    action: Floats
    chosen: int
    candidates: Floats
    steps_to_goal: float


class Chooser:
    """A trained method. It answers as its `choice` says."""

    def __init__(self, data: TrueStates, method: Method, seed: int, folder: Path) -> None:
        self.method = method
        self._agent, self.scale = _load(data, method.actor, seed, folder)
        self._critic: Agent | None = None
        actor = self._agent.actor
        if isinstance(actor, FlowActor):
            actor.noise = fixed_noise(method.candidates, 7)
        if method.critic is not None:
            self._critic, _ = _load(data, method.critic, seed, folder)
            self._critic.actor = actor

    @torch.inference_mode()
    def act(self, state: Floats, goal: Floats, last: int, script: Floats, rng: np.random.Generator) -> Answer:
        """For states (S,); `last` is the candidate chosen before, -1 for none, `script` (7,) the script's action."""
        seen, wanted = (torch.from_numpy(x.astype(np.float32))[None] for x in (state, goal))
        method, steps = self.method, float("nan")
        if method.choice == "none":
            candidates, chosen = self._agent.deployed(seen, wanted)[0], 0
        elif method.choice == "critic":
            assert isinstance(self._critic, MQEAgent | GCIQLAgent)
            choice = self._critic.chosen(seen, wanted, torch.tensor([last]))
            candidates, chosen, steps = choice.candidates[0], int(choice.chosen), float(choice.steps_to_goal)
        else:
            candidates = self._agent.actor.candidates(seen, wanted)[0]
            chosen = int(rng.integers(len(candidates))) if method.choice == "random" else 0
        actions = physical(self.scale, candidates)
        if method.choice == "script":
            chosen = int(np.square(self.scale.normalise(actions) - self.scale.normalise(script)).sum(axis=1).argmin())
        return Answer(actions[chosen], chosen, actions, steps)


def physical(scale: ActionScale, actions: Tensor) -> Floats:
    """(..., 7) in [-1, 1] -> physical units."""
    return scale.low + (actions.numpy().astype(np.float64) + 1.0) / 2.0 * (scale.high - scale.low)


def _load(data: TrueStates, name: str, seed: int, folder: Path) -> tuple[Agent, ActionScale]:
    trainer = _trainer(data, name, seed, 1)
    trainer.agent.load_state_dict(torch.load(_file(folder, name, seed))["weights"])
    return trainer.agent.eval(), trainer.data.action_scale
