"""The processes that train one run together, and what they say to each other.

Each is a rank, started by `torchrun`. All draw the same batches from the same seed; each loads its own rows of them and
computes its share of the image encoders' work (sharing.py). The rest of the loss is computed by every rank, over the
whole batch. Rank 0 writes the run's files.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from mqe_core.learning.ranks.watch import INTERRUPTED, LostRankError, Watch

T = TypeVar("T")

# Who waits in a collective is ended by the watch, not by a clock: one rank may evaluate for an hour.
FOREVER = datetime.timedelta(days=30)
MOST_TO_END_S = 20
BUCKET = 2**23  # numbers of gradients that travel at once: 32 MB, so that copying goes on beside the sending


@dataclass(frozen=True)
class Ranks:
    """This process among those of a run; by default the only one, with whom nothing is spoken."""

    rank: int = 0
    world: int = 1  # how many there are
    local_rank: int = 0  # among those of this machine
    local_world: int = 1
    watch: Watch | None = None

    @property
    def first(self) -> bool:
        """Whether this one writes the run's files."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """Those of a batch that this rank loads."""
        rows = batch_size // self.world
        return slice(self.rank * rows, (self.rank + 1) * rows)

    def from_first(self, make: Callable[[], T]) -> T:
        """What rank 0 makes, everywhere."""
        if self.world == 1:
            return make()
        made = [make() if self.first else None]
        self._together(lambda: dist.broadcast_object_list(made, src=0))
        return made[0]  # type: ignore[return-value]  # None is only where it is to come

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        if self.world == 1:
            return flag
        flags = torch.tensor([int(flag)])
        self._together(lambda: dist.all_reduce(flags, dist.ReduceOp.MAX))
        return bool(flags.item())

    def wait_for_all(self) -> None:
        """Until all are here."""
        self.any(False)

    def told(self, text: str) -> str:
        """What the first rank says that says something, and which one; empty where none does."""
        if self.world == 1 or not self.any(bool(text)):
            return text
        return next(f"rank {rank}: {said}" for rank, said in enumerate(self._all(text)) if said)

    def require_alike(self, facts: Mapping[str, str]) -> None:
        """ValueError, naming the ranks and what they have, where a fact is another one on another rank."""
        for name, values in self._by_name(facts).items():
            other = next((rank for rank, value in enumerate(values) if value != values[0]), None)
            if other is not None:
                raise ValueError(
                    f"{name} differs: {values[0]} on rank 0, {values[other]} on rank {other}. All ranks of a run need "
                    "the same version, data and configuration: bring their machines to one state, and give torchrun "
                    "the same command on each"
                )

    def require_apart(self, device: torch.device) -> None:
        """ValueError where two ranks train on one GPU, and where some train on a GPU and some on none."""
        if self.world > 1:
            self.require_alike({"the kind of device": device.type})
            where = str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else ""
            _require_apart(self._all(where))

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give all ranks the values of rank 0, where they lie."""
        if self.world > 1:
            with torch.no_grad():
                for tensor in tensors:
                    sent = tensor.contiguous()
                    self._together(partial(dist.broadcast, sent, src=0))
                    tensor.copy_(sent)

    def gathered(self, own: Tensor) -> Tensor:
        """``(...) -> (N, ...)``: of all N ranks; without gradient."""
        parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(self.world)]
        self._together(lambda: dist.all_gather(parts, own.contiguous()))
        return torch.stack(parts)

    def summed(self, value: Tensor) -> Tensor:
        """The sum over the ranks."""
        total = value.clone(memory_format=torch.contiguous_format)
        self._together(lambda: dist.all_reduce(total))
        return total

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each gradient by its sum over the ranks: all have the same ones after that, bit for bit."""
        if self.world == 1:
            return
        under_way = []
        for bucket in _buckets([parameter.grad for parameter in parameters if parameter.grad is not None]):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            under_way.append((self._together(partial(dist.all_reduce, flat, async_op=True)), flat, bucket))
        for work, flat, bucket in under_way:
            self._together(work.wait)
            for gradient, total in zip(bucket, flat.split([gradient.numel() for gradient in bucket])):
                gradient.copy_(total.view_as(gradient))

    def _by_name(self, facts: Mapping[str, str]) -> dict[str, list[str]]:
        """Of each fact, what each rank has."""
        everywhere = self._all(dict(facts))
        return {name: [its.get(name, "nothing") for its in everywhere] for name in facts}

    def _all(self, own: Any) -> list[Any]:
        """What each rank gives."""
        if self.world == 1:
            return [own]
        gathered: list[Any] = [None] * self.world
        self._together(lambda: dist.all_gather_object(gathered, own))
        return gathered

    def _together(self, speak: Callable[[], T]) -> T:
        """What all ranks do at once. Where one is gone, the watch says which and why, and ends this process."""
        try:
            return speak()
        except RuntimeError as error:
            assert self.watch is not None
            self.watch.wait_for_the_end()
            raise LostRankError(f"the ranks have lost each other: {error}") from error


ALONE = Ranks()


@contextlib.contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """This process as a rank where `torchrun` started it, else alone. What is raised inside ends all ranks."""
    if not dist.is_available() or not dist.is_torchelastic_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        yield ALONE
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, timeout=FOREVER)
    rank, world = dist.get_rank(), dist.get_world_size()
    local_rank, local_world = (int(os.environ[name]) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    watch = Watch(address, rank, world, name=f"rank {rank} on {socket.gethostname()}", speaks=local_rank == 0)
    ranks = Ranks(rank, world, local_rank, local_world, watch)
    ranks.wait_for_all()  # each beats before any listens
    watch.start()
    try:
        yield ranks
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        watch.tell(
            "interrupted" if interrupted else str(error) or type(error).__name__, INTERRUPTED if interrupted else 1
        )
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(MOST_TO_END_S)  # what tears the group down may wait for those who are gone
        raise
    ranks.wait_for_all()
    watch.stop()
    dist.destroy_process_group()


def _require_apart(devices: list[str]) -> None:
    """ValueError where a GPU stands twice in the ranks' devices; empty is none."""
    for rank, device in enumerate(devices):
        if device and device in devices[:rank]:
            raise ValueError(
                f"ranks {devices.index(device)} and {rank} both train on the GPU {device}: start at most one rank for "
                "each GPU of a machine (torchrun --nproc-per-node), and show each its own"
            )


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """Some gradients of one type at a time, in their order."""
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and (size + gradient.numel() > BUCKET or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.numel()
    if bucket:
        yield bucket
