"""Each official agent in our terms.

Sources: OGBench (gcbc, gciql, gcivl, crl, qrl, hiql), tmd-release (cmd, tmd), tra-ogbench (tra), horizon-reduction
(nsacbc) and the newest form of the official MQE agent (mqe).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from golden_official import (
    ACTOR,
    CRITIC,
    DDPG_BC,
    UNREAD,
    WIDTHS,
    Official,
    actor,
    logged,
    n_steps,
    reward,
    transitions,
    waypoints,
)
from torch import Tensor

from mqe_core.learning.agents.crl import similarity
from mqe_core.learning.rows.batch import Batch

PAIR = ("observation", "value_goal")


def phi(agent: Any, batch: Batch) -> Tensor:
    return agent.phi(torch.cat([batch.frames["observation"], batch.actions], dim=-1))


def entropy_per_action(stated: Mapping[str, Any]) -> dict[str, Any]:
    """nSAC's target entropy is stated for the whole action, or as a multiple of its width."""
    whole = stated["target_entropy"]
    each = stated["target_entropy_multiplier"] if whole is None else -whole / stated["action_dim"]
    return {"entropy_per_action": each}


OFFICIAL: dict[str, Official] = {
    "mqe": Official(
        keys={
            **CRITIC,
            **{"components": "components", "latent_dim": "latent_dim", "diag_backup": "diagonal_weight"},
            **{"lambda_": "lambda_", "next_state_sample": "next_state_sample", "t": "linex_clip"},
            "normalize_q_loss": "normalise_q",
        },
        networks={**ACTOR, "modules_phi/phi": "phi", "modules_psi/phi": "psi"},
        losses={
            **DDPG_BC,
            "backup": logged("critic/backup_loss"),
            "invariance": logged("critic/action_invariance_loss"),
            "critic": lambda m, c: m["critic/backup_loss"] + c.invariance_weight * m["critic/action_invariance_loss"],
        },
        batch=waypoints,
        answers={
            "distance": lambda agent, batch: agent.head(
                agent.psi(batch.frames["observation"]), agent.psi(batch.frames["value_goal"])
            ),
            "distance_sa": lambda agent, batch: agent.head(phi(agent, batch), agent.psi(batch.frames["value_goal"])),
        },
        fixed={"norm": False, "oraclerep": False, "use_action_for_distance": True},
        same={"gamma": "discount"},
        unused=(*UNREAD, "zeta", "critic_batch_size"),
    ),
    "gcbc": Official(
        keys={"actor_hidden_dims": "hidden_dims"},
        networks=ACTOR,
        losses={"actor": actor},
        batch=transitions,
        unused=("discount", "gc_negative"),
    ),
    "gciql": Official(
        keys={**CRITIC, "expectile": "expectile", "tau": "target_rate", "actor_loss": "actor_loss"},
        values={"target_lags": True},
        networks={
            **ACTOR,
            **{"modules_value/value_net": "value.values", "modules_critic/value_net": "q.values"},
        },
        losses={**DDPG_BC, "value": logged("critic/value_loss"), "critic": logged("critic/q_loss")},
        batch=transitions,
        answers={
            "value": lambda agent, batch: agent.value(batch.frames["observation"], batch.frames["value_goal"]),
            "q": lambda agent, batch: agent.q(batch.frames["observation"], batch.frames["value_goal"], batch.actions),
        },
        derived={"gc_negative": reward},
        target=("q", "target_q"),
    ),
    "tra": Official(
        keys={
            **{"actor_hidden_dims": "hidden_dims", "value_hidden_dims": "representation_dims"},
            **{"layer_norm": "critic_layer_norm", "discount": "discount"},
            **{"alignment": "alignment_weight", "repr_reg": "size_weight", "representation_dim": "representation_dim"},
        },
        values={"representation_dim": 0},
        networks={
            **{"modules_actor/actor_net": "actor.network", "modules_actor/mean_net": "actor.network.head"},
            **{"modules_value/phi": "phi.mlp", "modules_value/psi": "psi.mlp"},
        },
        scalars={"modules_actor/log_stds": "actor.log_std"},
        losses={"actor": actor, "contrastive": logged("critic/contrastive_loss")},
        batch=transitions,
        answers={
            "value": lambda agent, batch: similarity(
                agent.phi(batch.frames["observation"]), agent.psi(batch.frames["value_goal"])
            ).exp(),
        },
        unused=(*UNREAD, "alpha", "repr_stopgrad", "latent_dim", "value_latent_dim"),
    ),
    "crl": Official(
        keys={**CRITIC, "latent_dim": "latent_dim", "actor_loss": "actor_loss"},
        networks={
            **ACTOR,
            **{"modules_critic/phi": "critic.phi", "modules_critic/psi": "critic.psi"},
            **{"modules_value/phi": "value.phi", "modules_value/psi": "value.psi"},  # with AWR
        },
        losses={
            **DDPG_BC,
            "contrastive": logged("critic/contrastive_loss"),
            "value": logged("critic/value_contrastive_loss"),
        },
        batch=transitions,
        answers={
            "value": lambda agent, batch: agent.critic(*(batch.frames[name] for name in PAIR), batch.actions),
        },
        unused=UNREAD,
    ),
    "cmd": Official(
        keys={**CRITIC, "latent_dim": "latent_dim", "mrn_components": "components"},
        networks={**ACTOR, "modules_critic/phi": "phi"},
        losses={**DDPG_BC, "contrastive": logged("critic/contrastive_loss")},
        batch=transitions,
        answers={
            "distance_sa": lambda agent, batch: agent.head(
                phi(agent, batch),
                agent.phi(torch.cat([batch.frames["value_goal"], batch.actions.roll(1, 0)], dim=-1)),
            )
        },
        unused=UNREAD,
    ),
    "tmd": Official(
        keys={
            **CRITIC,
            **{"components": "components", "latent_dim": "latent_dim", "diag_backup": "diagonal_weight"},
            **{"zeta": "backup_weight", "t": "linex_clip", "stopgrad_psi_backup": "stop_psi_in_backup"},
            **{"stopgrad_phi_invariance": "stop_phi_in_invariance", "use_latent": "actor_sees_psi"},
        },
        networks={**ACTOR, "modules_phi/phi": "phi", "modules_psi/phi": "psi"},
        scalars={"modules_alpha_raw/value": "head.mix"},
        losses={
            **DDPG_BC,
            "contrastive": logged("critic/contrastive_loss"),
            "backup": logged("critic/backup_loss"),
            "invariance": logged("critic/action_invariance_loss"),
            "critic": lambda m, c: (
                m["critic/contrastive_loss"]
                + m["critic/action_invariance_loss"]
                + c.backup_weight * m["critic/backup_loss"]
            ),
        },
        batch=transitions,
        answers={
            "distance": lambda agent, batch: agent.head(
                agent.psi(batch.frames["observation"]), agent.psi(batch.frames["value_goal"])
            ),
            "distance_sa": lambda agent, batch: agent.head(phi(agent, batch), agent.psi(batch.frames["value_goal"])),
        },
        unused=UNREAD,
        derived={
            "use_iqe": lambda stated: (
                {"head": "iqe", "component_dim": stated["components"]} if stated["use_iqe"] else {}
            ),
            "freeze_enc_for_actor_grad": lambda stated: {"actor_trains_psi": not stated["freeze_enc_for_actor_grad"]},
        },
    ),
    "qrl": Official(
        keys={
            **{**CRITIC, "latent_dim": "latent_dim", "eps": "slack"},
            **{"actor_loss": "actor_loss", "quasimetric_type": "head"},
        },
        networks={**ACTOR, "modules_value/phi": "phi", "modules_dynamics": "dynamics"},
        scalars={"modules_value/alpha/value": "head.mix", "modules_lam/log_value": "log_multiplier"},
        losses={
            **DDPG_BC,
            "value": logged("critic/value_loss"),
            "value_neg": logged("critic/apart_loss"),
            "value_pos": logged("critic/beyond_a_step"),
            "dual": logged("critic/dual_loss"),
            "dynamics": logged("critic/dynamics_loss"),
        },
        batch=transitions,
        answers={"distance": lambda agent, batch: agent.deployed(*(batch.frames[name] for name in PAIR))[1]},
        unused=UNREAD,
    ),
    "gcivl": Official(
        keys={**CRITIC, "expectile": "expectile", "tau": "target_rate"},
        networks={**ACTOR, "modules_value/value_net": "value.values"},
        losses={"value": logged("critic/value_loss"), "actor": logged("actor/awr_loss")},
        batch=transitions,
        answers={"value": lambda agent, batch: agent.value(*(batch.frames[name] for name in PAIR))},
        derived={"gc_negative": reward},
        target=("value", "target_value"),
    ),
    "hiql": Official(
        keys={
            **{**WIDTHS, "layer_norm": "critic_layer_norm", "discount": "discount", "low_alpha": "alpha"},
            **{"high_alpha": "high_alpha", "expectile": "expectile", "tau": "target_rate"},
            **{"rep_dim": "representation_dim", "subgoal_steps": "subgoal_steps"},
            **{"low_actor_rep_grad": "representation_learns_from_actor"},
        },
        networks={
            "modules_goal_rep/layers_0": "representation.mlp",
            "modules_value/value_net": "value.values",
            "modules_low_actor/actor_net": "low_actor.head.network",
            "modules_low_actor/mean_net": "low_actor.head.network.head",
            "modules_high_actor/actor_net": "high_actor.head.network",
            "modules_high_actor/mean_net": "high_actor.head.network.head",
        },
        scalars={
            "modules_low_actor/log_stds": "low_actor.head.log_std",
            "modules_high_actor/log_stds": "high_actor.head.log_std",
        },
        losses={
            "value": logged("critic/value_loss"),
            "low_actor": logged("actor/awr_loss"),
            "high_actor": logged("high_actor/awr_loss"),
        },
        batch=transitions,
        answers={
            "value": lambda agent, batch: agent.value(
                batch.frames["observation"], agent.representation(*(batch.frames[name] for name in PAIR))
            )
        },
        derived={"gc_negative": reward},
        target=("value", "target_value"),
    ),
    "nsacbc": Official(
        keys={
            **{**CRITIC, "tau": "target_rate", "subgoal_steps": "backup_steps", "q_agg": "q_aggregation"},
            **{"actor_layer_norm": "actor_layer_norm", "num_qs": "ensemble", "value_loss_type": "q_loss"},
            "tanh_squash": "actor_squashed",
        },
        networks={
            "modules_critic/value_net": "q.values",
            "modules_actor/actor_net": "actor",
            "modules_actor/mean_net": "actor.mean",
            "modules_actor/log_std_net": "actor.log_std",
        },
        scalars={"modules_lam/log_value": "log_entropy_weight", "modules_actor/log_stds": "actor.log_stds"},
        losses={
            "critic": logged("critic/q_loss"),
            "actor": logged("actor/soft_loss"),
            "dual": logged("actor/entropy_loss"),
            "bc": logged("actor/bc_loss"),
            "bc_scaled": logged("actor/scaled_bc_loss"),
            "actor_total": lambda m, c: m["actor/soft_loss"] + m["actor/entropy_loss"] + m["actor/scaled_bc_loss"],
        },
        batch=n_steps,
        answers={
            "value": lambda agent, batch: agent.q(*(batch.frames[name] for name in PAIR), batch.actions),
        },
        unused=("actor_fc_scale", "target_entropy_multiplier"),  # of the first weights; see target_entropy
        derived={
            "gc_negative": reward,
            "state_dependent_std": lambda stated: {"actor_learns_std": not stated["state_dependent_std"]},
            "target_entropy": entropy_per_action,
        },
        target=("q", "target_q"),
        noise=("noise_critic", "noise_actor"),
    ),
}
