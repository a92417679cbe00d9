"""Pairs of ranks that run `mqe train` and to which something happens, for test_ranks_end.py. One process imports all
that is slow, and each pair is forked from it.

    python rank_scenarios.py STORE OTHER_STORE FOLDER       # FOLDER/found.json: exit codes, words, seconds
"""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch
from torch.utils.tensorboard import SummaryWriter  # noqa: F401  # slow to import

from mqe_core import cli
from mqe_core.commands import train as command  # noqa: F401
from mqe_core.learning.ranks import watch
from mqe_core.learning.rows.pixels import PixelObservations
from mqe_core.learning.run import train  # noqa: F401
from mqe_core.learning.run.records import Records
from mqe_core.learning.run.trainer import Trainer

AT = 3  # updates after which it happens
STEPS = 6
KEYS = {
    "batch_size": 8,
    "observation": "pixels",
    "encoder": "strided_small",
    "hidden_dims": [8, 8],
    "latent_dim": 16,
    "components": 2,
    "threads": 1,
    "device": "cpu",
    "log_every": 1,
    "checkpoint_every": 2,
    "image_memory_mb": 0,
    "augment_kind": "bridge",
    "validation_fraction": 0.2,
    "average_decay": 0.9,
}


def at_update(happens: Callable[[Trainer], None]) -> None:
    """Before the update after :data:`AT` of them."""
    update = Trainer.update

    def after_something(self: Trainer) -> None:
        if self.step == AT:
            happens(self)
        update(self)

    Trainer.update = after_something


def no_number(trainer: Trainer) -> None:
    """One weight of an encoder becomes NaN."""
    with torch.no_grad():
        next(trainer.agent.critic_encoder.parameters()).fill_(math.nan)


def no_room() -> None:
    """The disk takes no checkpoint after the first one."""
    checkpoint = Records.checkpoint

    def refused(self: Records) -> None:
        if self._trainer.step > AT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        checkpoint(self)

    Records.checkpoint = refused


def damaged_image() -> None:
    """The fourth batch has an image that cannot be decoded."""
    begin, begun = PixelObservations._begin, []

    def damaged(self: PixelObservations, wanted):
        begun.append(begin(self, wanted))
        if len(begun) != AT + 1:
            return begun[-1]

        def fails():
            raise ValueError("frame 7 cannot be decoded")

        return fails

    PixelObservations._begin = damaged


def wait_a_while(trainer: Trainer) -> None:
    """As a rank does whose machine has been cut off: it is there, and no longer beats."""
    trainer.ranks.watch._over.set()
    time.sleep(600)


# What happens to which rank.
SCENARIOS: dict[str, tuple[int, Callable[[], None]]] = {
    "nothing": (0, lambda: None),
    "not a number": (1, lambda: at_update(no_number)),
    "ctrl-c": (1, lambda: at_update(lambda _: os.kill(os.getpid(), signal.SIGINT))),
    "killed": (1, lambda: at_update(lambda _: os.kill(os.getpid(), signal.SIGKILL))),
    "the first killed": (0, lambda: at_update(lambda _: os.kill(os.getpid(), signal.SIGKILL))),
    "silent": (1, lambda: at_update(wait_a_while)),
    "no room": (0, no_room),
    "damaged image": (1, damaged_image),
    "other data": (1, lambda: None),
    "resumed": (0, lambda: None),  # what one process has trained for AT updates
}


def child(scenario: str, rank: int, port: int, stores: tuple[str, str], folder: Path) -> int:
    """One rank, in a process of its own: the exit code."""
    keys = ["--resume"] if scenario == "resumed" else [f"--set={name}={value}" for name, value in KEYS.items()]
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }
    said = os.open(folder / f"{scenario} {rank}.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)
    if scenario == "nothing":
        keys.append("--set=image_workers=1")
    whom, happens = SCENARIOS[scenario]
    if rank == whom:
        happens()
    store = stores[scenario == "other data" and rank == whom]
    with patch.object(watch, "PATIENCE_S", 3.0):
        return cli.main(["train", "--data", store, "--out", str(folder / scenario), "--steps", str(STEPS), *keys])


def main() -> None:
    """All scenarios, one after the other."""
    torch.set_num_threads(1)
    stores, folder = (sys.argv[1], sys.argv[2]), Path(sys.argv[3])
    found = {}
    for scenario in SCENARIOS:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        begun, processes = time.monotonic(), []
        for rank in range(2):
            process = os.fork()
            if not process:
                code = 99
                try:
                    code = child(scenario, rank, port, stores, folder)
                finally:
                    sys.stdout.flush()
                    os._exit(code)
            processes.append(process)
        codes, ends = {}, {}
        while len(codes) < 2:
            process, status = os.wait()
            codes[process], ends[process] = os.waitstatus_to_exitcode(status), time.monotonic()
            if scenario == "silent" and process == processes[0]:
                os.kill(processes[1], signal.SIGKILL)
        found[scenario] = {
            "codes": [codes[process] for process in processes],
            "said": [(folder / f"{scenario} {rank}.txt").read_text(errors="replace") for rank in range(2)],
            "seconds": time.monotonic() - begun,
            "apart": abs(ends[processes[0]] - ends[processes[1]]),
        }
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
