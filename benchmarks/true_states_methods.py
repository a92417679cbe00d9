"""What benchmarks/closed_loop_states.py compares: how each agent is trained, and who then chooses the action.

All agents learn on the same frames and actions, all policies and all critics each as many updates, and the actor's
goals are later frames of the own episode: no actor ever meets the goal of a chain. Exceptions: the actors of "scene
goals", the Q terms of "other goals", and those that climb the Q term of a critic, which learns before them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.true_states import TrueStates
from benchmarks.true_states_extraction import Extraction
from mqe_core.learning.agents.gciql import GCIQLAgent
from mqe_core.learning.agents.mqe import MQEAgent
from mqe_core.learning.networks.actor import Agent
from mqe_core.learning.networks.flow import FlowActor, fixed_noise
from mqe_core.learning.rows.actions import ActionScale
from mqe_core.learning.run.config import read_values
from mqe_core.learning.run.run_config import keys_for, make_config
from mqe_core.learning.run.trainer import Trainer
from mqe_core.robot.arrays import Float32s, Floats

# Of critics, else as the preset sim_features has it; half its batch, of as many rows a scene.
_SHARED: dict[str, Any] = {
    "observation": "state", "feature_copies": 1, "validation_fraction": 0.0, "batch_size": 64, "batch_scenes": 16,
    "steps": 4500,
}  # fmt: skip
_FLOW: dict[str, Any] = {"actor": "flow", "alpha": 1.0}
_BLIND: dict[str, Any] = {**_FLOW, "actor_sees_goal": False}
# Policies gain from more rows than the critics have (docs/results-critic.md).
_LONG: dict[str, Any] = {"batch_size": 256, "hidden_dims": (512, 512, 512), "steps": 10_000}
# GCBC's flow always sees the goal; beside a blind one learns a critic that nobody asks, so as small as can be.
_UNASKED: dict[str, Any] = {"critic_hidden_dims": (8,), "latent_dim": 16}
_CONTRASTS: dict[str, Any] = {"action_contrast": 1.0, "goal_contrast": 1.0, "scene_contrast": 0.1}
# Mostly where this or a later episode of the scene ends, as the shipped policy's (whose are crossed, too): an actor
# that meets goals of chains.
_SCENE_GOALS: dict[str, Any] = {
    "actor_goal_trajectory": 0.1, "actor_goal_scene": 0.9, "actor_stop_radius_m": 0.05,
}  # fmt: skip
RUNS: dict[str, dict[str, Any]] = {
    "gcbc": {"agent": "gcbc", **_LONG},
    "gcbc, scene goals": {"agent": "gcbc", **_LONG, **_SCENE_GOALS},
    "tra": {"agent": "tra", "alignment_weight": 32.0, **_LONG},
    "gciql": {"agent": "gciql", **_LONG},
    "crl": {"agent": "crl", **_LONG},
    "mqe": {"agent": "mqe", **_LONG},
    "flow": {"agent": "gcbc", **_FLOW, **_LONG},
    "blind": {"agent": "mqe", **_BLIND, **_UNASKED, **_LONG},
    "critic": {"agent": "mqe", **_FLOW},
    "critic contrasts": {"agent": "mqe", **_FLOW, **_CONTRASTS},
    "critic gciql": {"agent": "gciql", **_FLOW},
    "critic p1": {"agent": "mqe", **_FLOW, **_CONTRASTS, "next_state_sample": 1.0},
    "critic no invariance": {"agent": "mqe", **_FLOW, **_CONTRASTS, "invariance_weight": 0.0},
    **{f"critic {name[:-9]} contrast": {"agent": "mqe", **_FLOW, name: weight} for name, weight in _CONTRASTS.items()},
}
# Policies that climb the Q term (benchmarks/true_states_extraction.py): of which critic above, whether half of the time
# to goals of other rows, and the weight of cloning beside it.
CLIMBED: dict[str, tuple[str, bool, float]] = {
    f"Q of {name}{where}, alpha {alpha:g}": (critic, bool(where), alpha)
    for name, critic in (("MQE", "critic"), ("MQE+contrasts", "critic contrasts"))
    for where in ("", ", other goals")
    for alpha in (0.03, 0.3, 3.0)
}
RUNS |= {
    name: {"agent": "mqe", **_LONG, "critic_hidden_dims": (256, 256, 256), "alpha": alpha}
    for name, (_, _, alpha) in CLIMBED.items()
}


@dataclass(frozen=True)
class Method:
    """The actor of the run `actor`, and of `candidates` the one that `choice` takes, by the run `critic`:

    none      there is one mean
    first     noise 0
    random    any action
    critic    the action from which the goal is nearest
    script    the action nearest to the script, where a critic may be asked beside
    ahead     the way that leads nearest in `horizon` steps, in a model: benchmarks/true_states_ahead.py
    subgoal   the state in `horizon` steps from which it is nearest: benchmarks/true_states_subgoals.py
    """

    actor: str
    choice: str = "none"
    critic: str | None = None
    candidates: int = 32
    horizon: int = 0


CRITICS = {
    "MQE": "critic",
    "MQE+contrasts": "critic contrasts",
    "GCIQL": "critic gciql",
    "contrasts, p=1": "critic p1",
    "contrasts, no invariance": "critic no invariance",
    **{f"{name} contrast": f"critic {name} contrast" for name in ("action", "goal", "scene")},
}
METHODS = {
    **{name: Method(name) for name in ("gcbc", "gcbc, scene goals", "gciql", "tra", "crl", "mqe", *CLIMBED)},
    "flow, one": Method("flow", "first", None, 1),
    "flow, script": Method("flow", "script"),
    "flow, MQE": Method("flow", "critic", "critic"),
    "blind, random": Method("blind", "random"),
    "blind, script": Method("blind", "script"),
    **{f"blind, {name}": Method("blind", "critic", run) for name, run in CRITICS.items()},
    **{f"blind, script, {name} asked": Method("blind", "script", run) for name, run in CRITICS.items()},
    "blind, any way": Method("blind", "ahead", None, 16, 20),
    **{
        f"blind, {steps} ahead, {name}": Method("blind", "ahead", run, 16, steps)
        for name, run in CRITICS.items()
        for steps in (5, 10, 20)
    },
    **{f"subgoal in {h}, any": Method("gcbc", "subgoal", None, 1, h) for h in (5, 10, 20)},
    **{
        f"subgoal in {h}, {name}": Method("gcbc", "subgoal", run, 32, h)
        for name, run in CRITICS.items()
        for h in (5, 10, 20)
    },
    **{f"subgoal in 10, {name}, of 8": Method("gcbc", "subgoal", run, 8, 10) for name, run in CRITICS.items()},
    # The control of noise: no choice, and the proposal that is first among the eight.
    "subgoal in 10, noise 0": Method("gcbc", "subgoal", "critic contrasts", 1, 10),
    "subgoal in 10, any, scene goals": Method("gcbc, scene goals", "subgoal", None, 1, 10),
    "subgoal in 10, MQE+contrasts, of 8, scene goals": Method(
        "gcbc, scene goals", "subgoal", "critic contrasts", 8, 10
    ),
}


def train(data: TrueStates, name: str, seed: int, steps: int | None, folder: Path) -> None:
    """Train the run `name` and keep its weights in `folder`; nothing where they are there. `steps`: updates in place of
    the run's own number.
    """
    out = _file(folder, name, seed)
    if out.exists():
        return
    critic, elsewhere, _ = CLIMBED.get(name, ("", False, 0.0))
    if critic:
        train(data, critic, seed, steps, folder)
        weights = load(data, critic, seed, folder)[0].state_dict()
    trainer = _trainer(data, name, seed, steps)  # seeds torch, so it comes last
    if critic:
        assert isinstance(trainer.agent, MQEAgent)
        trainer.agent.loss = Extraction(trainer.agent, weights, trainer.config.train.batch_scenes, elsewhere)
        trainer.restart_average()
    for _ in range(trainer.config.train.steps):
        trainer.update()
    out.parent.mkdir(parents=True, exist_ok=True)
    metrics = trainer.means.take()
    torch.save(
        {"weights": trainer.policy_weights(), "metrics": metrics, "keys": RUNS[name], "climbed": CLIMBED.get(name)}, out
    )


def _trainer(data: TrueStates, name: str, seed: int, steps: int | None) -> Trainer:
    values = keys_for(RUNS[name]["agent"], read_values(Path("sim_features"))) | _SHARED | RUNS[name]
    values |= {} if steps is None else {"steps": steps}
    return Trainer(data, make_config(values | {"seed": seed, "threads": 1, "device": "cpu"}), False)


def _file(folder: Path, name: str, seed: int) -> Path:
    return folder / f"{name.replace(' ', '_')}-{seed}.pt"


@dataclass(frozen=True)
class Answer:
    """An action (7,) in physical units, which of the candidates (N, 7) it is, how far the critic finds the goal from
    each of these (N,), and control steps to the goal; NaN without a critic."""

    action: Floats
    chosen: int
    candidates: Floats
    distances: Floats
    steps_to_goal: float


class Chooser:
    """A trained method. It answers as its `choice` says."""

    def __init__(self, data: TrueStates, method: Method, seed: int, folder: Path) -> None:
        self.method = method
        self._agent, self.scale = load(data, method.actor, seed, folder)
        self._critic: Agent | None = None
        actor = self._agent.actor
        if isinstance(actor, FlowActor):
            actor.noise = fixed_noise(method.candidates, 7)
        if method.critic is not None:
            self._critic, _ = load(data, method.critic, seed, folder)
            self._critic.actor = actor

    @torch.inference_mode()
    def act(self, state: Float32s, goal: Float32s, last: int, script: Floats, rng: np.random.Generator) -> Answer:
        """For states (S,); `last` is the candidate chosen before, -1 for none, `script` (7,) the script's action."""
        seen, wanted = (torch.from_numpy(x)[None] for x in (state, goal))
        method, steps, distances = self.method, float("nan"), np.full(1, np.nan)
        if method.choice == "none":
            candidates, chosen = self._agent.deployed(seen, wanted)[0], 0
        elif self._critic is None:
            candidates = self._agent.actor.candidates(seen, wanted)[0]
            chosen = int(rng.integers(len(candidates))) if method.choice == "random" else 0
        else:
            assert isinstance(self._critic, MQEAgent | GCIQLAgent)
            choice = self._critic.chosen(seen, wanted, torch.tensor([last]))
            candidates, chosen, steps = choice.candidates[0], int(choice.chosen), float(choice.steps_to_goal)
            distances = choice.distances[0].numpy().astype(np.float64)
        actions = physical(self.scale, candidates)
        if method.choice == "script":
            chosen = int(np.square(self.scale.normalise(actions) - self.scale.normalise(script)).sum(axis=1).argmin())
        return Answer(actions[chosen], chosen, actions, distances, steps)


def physical(scale: ActionScale, actions: Tensor) -> Floats:
    """(..., 7) in [-1, 1] -> physical units."""
    return scale.low + (actions.numpy().astype(np.float64) + 1.0) / 2.0 * (scale.high - scale.low)


def load(data: TrueStates, name: str, seed: int, folder: Path) -> tuple[Agent, ActionScale]:
    """The trained run `name`, and the scale of its actions. ValueError where it was trained with other keys."""
    trainer = _trainer(data, name, seed, 1)
    kept = torch.load(_file(folder, name, seed))
    if (kept.get("keys"), kept.get("climbed")) != (RUNS[name], CLIMBED.get(name)):
        raise ValueError(f"{_file(folder, name, seed)} was trained otherwise than {name!r} is now: give another --work")
    trainer.agent.load_state_dict(kept["weights"])
    return trainer.agent.eval(), trainer.data.action_scale
