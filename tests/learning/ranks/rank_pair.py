"""One of two ranks that train every agent together, in float64, for test_ranks.py. Rank 0 also trains each alone, and
by naive averaging, and writes how far the three are apart.

    RANK=0 WORLD_SIZE=2 … python rank_pair.py STORE OUT      # see `two_ranks`
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.ranks.ranks import ALONE, Ranks, joined_ranks
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.run.run_config import RunConfig, keys_for, make_config
from mqe_core.learning.run.trainer import Trainer

UPDATES, ROWS, RANKS = 20, 8, 2
FEW = 4  # updates of what is beside the agents themselves, and of naive averaging
TINY = {"hidden_dims": [8, 8], "latent_dim": 16, "components": 2, "encoder": "strided_small", "encoder_bfloat16": False}
CONTRASTS = {"action_contrast": 0.3, "goal_contrast": 0.3, "scene_contrast": 0.3, "scene_distance": True}
# What is trained: every agent, and what else meets other rows of a batch.
CASES: dict[str, dict[str, Any]] = {
    **{agent: {} for agent in ("cmd", "crl", "gcbc", "gciql", "gcivl", "hiql", "mqe", "nsacbc", "qrl", "tmd", "tra")},
    "mqe, side terms": {"agent": "mqe", **CONTRASTS},
    "mqe, a running mean": {"agent": "mqe", "average_decay": 0.9},
    "mqe, goals of other rows": {"agent": "mqe", "actor_goals_crossed": True, "actor_fusion": "late"},
    "mqe, goals of other rows, early": {"agent": "mqe", "actor_goals_crossed": True},
    "mqe, a flow": {"agent": "mqe", "actor": "flow", "candidates": 4},
    "mqe, one encoder": {"agent": "mqe", "encoder_shared": True, "actor_fusion": "late"},
    "gcivl, one encoder": {"agent": "gcivl", "encoder_shared": True},
    "tra, a picture after the other": {"agent": "tra", "pictures_at_once": 1},
    "crl, awr": {"agent": "crl", "actor_loss": "awr"},
    "gciql, a deviation": {"agent": "gciql", "actor_learns_std": True},
}


def config_of(case: str) -> RunConfig:
    """A tiny run, its images decoded at each use and changed at random."""
    keys = {"agent": case, "observation": "pixels", **CASES[case]}
    loop = {"steps": UPDATES, "batch_size": ROWS, "device": "cpu", "threads": 1, "learning_rate": 1e-3}
    images = {"image_memory_mb": 0.0, "augment_probability": 0.5, "augment_colour": 0.2}
    return make_config(keys_for(keys["agent"], {**TINY, **loop, **images, **keys}))


def trained(
    store: EpisodeStore,
    config: RunConfig,
    ranks: Ranks,
    updates: int,
    loss: Callable[[Trainer, Batch], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """All losses, and all parameters (or their running mean) at the end; in float64. ``loss``: for the agent's own."""
    trainer = Trainer(store, config, progress=False, ranks=ranks)
    trainer.agent.double()
    trainer.restart_average()
    losses = []
    its_loss, take = trainer.agent.loss, trainer._batches.take

    def exact(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        value, metrics = its_loss(batch) if loss is None else (loss(trainer, batch), {})
        losses.append(value.detach())
        return value, metrics

    trainer._batches.take = lambda: in_float64(take())
    trainer.agent.loss = exact
    for _ in range(updates):
        trainer.update()
    trainer.close()
    weights = trainer.average or list(trainer.agent.parameters())
    return torch.stack(losses), torch.cat([weight.detach().flatten() for weight in weights])


def in_float64(batch: Batch) -> Batch:
    """Its numbers; pictures stay what they are."""
    return dataclasses.replace(
        batch,
        frames={name: _exact(frames) for name, frames in batch.frames.items()},
        steps={name: _exact(steps) for name, steps in batch.steps.items()},
        actions=_exact(batch.actions),
    )


def _exact(numbers: Tensor) -> Tensor:
    return numbers.double() if numbers.is_floating_point() else numbers


def naively_averaged(trainer: Trainer, batch: Batch) -> Tensor:
    """The mean of what ranks compute that each know their own rows only: what averaged gradients descend."""
    rows = ROWS // RANKS
    parts = [slice(first, first + rows) for first in range(0, ROWS, rows)]
    return torch.stack([type(trainer.agent).loss(trainer.agent, _part(batch, part))[0] for part in parts]).mean()


def _part(batch: Batch, part: slice) -> Batch:
    return dataclasses.replace(
        batch,
        frames={name: frames[part] for name, frames in batch.frames.items()},
        steps={name: steps[part] for name, steps in batch.steps.items()},
        actions=batch.actions[part],
        origin=None if batch.origin is None else batch.origin[part],
    )


def two_ranks(*command: str | Path, **environment: str) -> list[subprocess.Popen[str]]:
    """The processes of a command, with what `torchrun` would tell them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    given |= {"TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": "1", **environment}
    return [
        subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=os.environ | given | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]


def main() -> None:
    """Train all cases."""
    logging.disable(logging.WARNING)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    store, out = EpisodeStore.open(Path(sys.argv[1])), Path(sys.argv[2])
    found = {}
    with joined_ranks() as ranks:
        for case in CASES:
            config, updates = config_of(case), FEW if CASES[case] else UPDATES
            losses, weights = trained(store, config, ranks, updates)
            ranks.require_alike({"every bit of the weights": hashlib.sha256(weights.numpy().tobytes()).hexdigest()})
            if ranks.first:
                alone, own = trained(store, config, ALONE, updates)
                found[case] = {
                    "loss": float((losses - alone).abs().max()),
                    "parameters": float((weights - own).abs().max()),
                    "largest loss": float(alone.abs().max()),
                }
                if not config.agent.actor_goals_crossed:  # its pairs name rows of the whole batch
                    naive, _ = trained(store, config, ALONE, FEW, naively_averaged)
                    found[case]["naive loss"] = float((naive - alone[:FEW]).abs().max())
        if ranks.first:
            out.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
