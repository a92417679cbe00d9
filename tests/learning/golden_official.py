"""How an official agent is told in our terms: hyperparameters, parameters, batches and losses by both their names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mqe_core.learning.networks.actor import ActorConfig, Metrics
from mqe_core.learning.rows.batch import Batch

NAMES = {"ngcsacbc": "nsacbc"}  # where an official agent is called otherwise
# Hyperparameters that draw the batch, which the file holds, or that a single update does not read.
SAMPLING = {
    *(f"{who}_p_{goal}" for who in ("actor", "value") for goal in ("curgoal", "trajgoal", "randomgoal")),
    *("actor_geom_sample", "value_geom_sample", "intermediate_value_geom_sample", "dataset_class", "frame_stack"),
    *("agent_name", "batch_size", "lr", "p_aug", "observation_dim", "action_dim"),
}
COMMON_FIXED = {"discrete": False, "encoder": None}
WIDTHS = {"actor_hidden_dims": "hidden_dims", "value_hidden_dims": "critic_hidden_dims"}
CRITIC = {**WIDTHS, "layer_norm": "critic_layer_norm", "discount": "discount", "alpha": "alpha"}
ACTOR = {"modules_actor/actor_net": "actor.head.network", "modules_actor/mean_net": "actor.head.network.head"}
UNREAD = ("actor_log_q", "gc_negative")  # stated by agents whose update does not read them
ACTOR_STD = {"modules_actor/log_stds": "actor.head.log_std"}  # where it is learned

Tensors = Mapping[str, Tensor]
Loss = Callable[[Metrics, Any], Tensor]


@dataclass(frozen=True)
class Official:
    """One agent of the official code."""

    keys: Mapping[str, str]  # hyperparameter -> ours
    networks: Mapping[str, str]  # path of an MLP -> ours
    losses: Mapping[str, Loss]  # from our metrics and configuration
    batch: Callable[[Tensors, Mapping[str, np.ndarray]], Batch]
    answers: Mapping[str, Callable[[Any, Batch], Tensor]] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)  # of our keys that the official code has no name for
    fixed: Mapping[str, Any] = field(default_factory=dict)  # hyperparameter -> the one value that is implemented
    unused: tuple[str, ...] = ()  # hyperparameters that the official update does not read
    same: Mapping[str, str] = field(default_factory=dict)  # hyperparameters that must agree
    # hyperparameter -> our values, made from the whole configuration
    derived: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = field(default_factory=dict)
    scalars: Mapping[str, str] = field(default_factory=dict)  # path of a parameter that is no layer's -> ours
    target: tuple[str, str] = ("", "")  # our network, and its copy
    actor_goal: str = "actor_goal"
    noise: tuple[str, ...] = ()  # the file's drawn numbers, in the order in which the loss draws them

    def gain(self, network: str) -> str:
        """What the scale of a LayerNorm is called in that network."""
        return "weight" if network.endswith("actor_net") else "gain"

    def target_name(self, name: str) -> str:
        """The parameter of the copy for one of ours; empty where there is none."""
        network, copied = self.target
        return copied + name.removeprefix(network) if network and name.startswith(f"{network}.") else ""


FRAMES = {
    "observations": "observation",
    "next_observations": "next_observation",
    "value_goals": "value_goal",
    "actor_goals": "actor_goal",
    "low_actor_goals": "subgoal",
    "high_actor_goals": "actor_goal",
    "high_actor_targets": "waypoint",
}


def transitions(official: Tensors, arrays: Mapping[str, np.ndarray]) -> Batch:
    """A batch of one-step rows. Where there are masks, a goal that equals s has mask 0, others 1; the reward goes with
    it, 0 and -1, or 1 and 0.
    """
    frames = {ours: official[theirs] for theirs, ours in FRAMES.items() if theirs in official}
    steps = {name: torch.ones(len(official["actions"])) for name in frames}
    if "masks" in official:
        negative = json.loads(str(arrays["config"]))["gc_negative"]
        masks = steps["value_goal"] = official["masks"]
        if not torch.equal(official["rewards"], -masks if negative else 1.0 - masks):
            raise ValueError("the rewards are not those of the masks: others are not implemented")
    return Batch(frames, steps, official["actions"])


def waypoints(official: Tensors, arrays: Mapping[str, np.ndarray]) -> Batch:
    """MQE's: where the drawn mask says so the waypoint is the next observation, one step away."""
    batch = transitions(official, arrays)
    one_step = torch.from_numpy(arrays["extra/use_next_state"])
    waypoint = torch.where(one_step[:, None], batch.frames["next_observation"], official["intermediate_value_goals"])
    steps = torch.where(one_step, 1.0, official["intermediate_value_goals_offsets"].float())
    frames, numbers = {**batch.frames, "waypoint": waypoint}, {**batch.steps, "waypoint": steps}
    return Batch(frames, numbers, batch.actions)


def n_steps(official: Tensors, arrays: Mapping[str, np.ndarray]) -> Batch:
    """nSAC's: a row succeeds (mask 0) where its backup ends at the goal; rewards hold gamma^n, or -1 for each step."""
    stated = json.loads(str(arrays["config"]))
    steps, masks = official["high_value_subgoal_steps"].float(), official["high_value_masks"]
    share = stated["discount"] ** steps
    rewards = -(1.0 - share) / (1.0 - stated["discount"]) if stated["gc_negative"] else share * (1.0 - masks)
    torch.testing.assert_close(official["high_value_rewards"], rewards, rtol=1e-4, atol=1e-5)
    frames = {
        "observation": official["observations"],
        "n_step": official["high_value_next_observations"],
        "value_goal": official["high_value_goals"],
        "actor_goal": official["high_actor_goals"],
    }
    numbers = {
        "observation": torch.zeros_like(steps),
        "n_step": steps,
        "value_goal": steps + masks,
        "actor_goal": steps,
    }
    return Batch(frames, numbers, official["actions"])


def actor(metrics: Metrics, config: ActorConfig) -> Tensor:
    if "actor/awr_loss" in metrics:
        return metrics["actor/awr_loss"]
    return metrics.get("actor/q_loss", torch.zeros(())) + config.alpha * metrics["actor/bc_loss"]


def learned_std(stated: Mapping[str, Any]) -> dict[str, Any]:
    """The official policy has the deviation 1, or learns one for each number of an action."""
    return {"actor_learns_std": not stated["const_std"]}


def reward(stated: Mapping[str, Any]) -> dict[str, Any]:
    """-1 until the goal, or 1 there."""
    return {"reward": "per_step" if stated["gc_negative"] else "at_goal"}


# The actor of mqe, tmd, cmd, crl, qrl and gciql: DDPG+BC, or (in the last three) AWR, which has no parts.
DDPG_BC: dict[str, Loss] = {
    "actor": actor,
    "actor_q": lambda metrics, config: metrics["actor/q_loss"],
    "actor_bc": lambda metrics, config: config.alpha * metrics["actor/bc_loss"],
}


def logged(name: str) -> Loss:
    """The metric of that name."""
    return lambda metrics, config: metrics[name]
