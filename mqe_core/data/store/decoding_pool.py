"""DecodingPool: processes that decode a store's images ahead of their use, outside this process and its GIL."""

from __future__ import annotations

import collections
import json
import os
import select
import signal
import subprocess
import sys
import weakref

from mqe_core.data.store import decoding_worker
from mqe_core.data.store.decoding_worker import ANSWER, FAILED, IMAGES_OF_A_PIECE, PIECE, TAKEN, SharedMemory
from mqe_core.data.store.encoded_cache import EncodedCache
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.interrupts import starting_workers
from mqe_core.robot.arrays import Images, Ints

_NAMED = 3  # frames that a message names
_PATIENCE_S = 5.0  # with a worker that is to end, before it is killed


class WorkerEndedError(RuntimeError):
    """A worker ended before its work was done. The text says which one, how, and what it was doing."""


class DecodingPool:
    """Decodes batches of images in `workers` processes; several batches may be under way.

    The images do not depend on the number of workers. These end with the pool, and with this process, however it ends.
    They start when the first batch is asked for.

    Args:
        store: whose images are decoded; each worker opens it for itself.
        camera: of the images.
        workers: how many processes.
        most_images: of a batch.
        batches: how many may be asked for and not yet taken.
        cache: that the workers take encoded images from.
    """

    def __init__(
        self,
        store: EpisodeStore,
        camera: int,
        *,
        workers: int,
        most_images: int,
        batches: int,
        cache: EncodedCache | None = None,
    ) -> None:
        assert workers >= 1 and most_images >= 1 and batches >= 1
        self._store, self._camera, self._workers = store, camera, workers
        self._most_images, self._batches = most_images, batches
        self._cache = cache
        # Few large pieces suffice for few workers; each has several, so that none waits long for the slowest.
        self._piece = max(1, min(IMAGES_OF_A_PIECE, most_images // (4 * workers)))
        self._free = list(range(batches))
        self._asked: dict[int, tuple[int, int, set[int]]] = {}  # by ticket: place, images, pieces still to come
        self._places: dict[int, int] = {}  # ticket by place
        self._failed: dict[int, str] = {}  # by ticket: why
        self._tickets = 0
        self._at_work: dict[int, tuple[int, int]] = {}  # by worker: place and first image
        self._to_hand_out: collections.deque[bytes] = collections.deque()
        self._processes: list[subprocess.Popen[bytes]] = []

    def ask(self, frames: Ints) -> int:
        """Have the images of `frames` (n,) decoded; the number is what `take` wants to know."""
        assert len(frames) <= self._most_images, f"{len(frames)} images, at most {self._most_images} are taken"
        assert self._free, f"{self._batches} batches are under way already"
        if not self._processes:
            self._start()
        place, ticket = self._free.pop(), self._tickets
        self._tickets += 1
        self._memory.frames[place][: len(frames)] = frames
        firsts = range(0, len(frames), self._piece)
        for first in firsts:
            count = min(self._piece, len(frames) - first)
            self._to_hand_out.append(PIECE.pack(place, first, count))
        self._asked[ticket] = (place, len(frames), set(firsts))
        self._places[place] = ticket
        self._hand_out()
        return ticket

    def take(self, ticket: int) -> Images:
        """Wait for the images that were asked for → `(n, H, W, 3) uint8`, an array of their own.

        ValueError as `EpisodeStore.images`. WorkerEndedError where a worker was killed or failed otherwise.
        """
        place, count, missing = self._asked[ticket]
        self._wait(0)  # a worker that has ended is told even where the others did its work
        while missing:
            self._wait()
        if ticket in self._failed:
            raise ValueError(self._failed[ticket])
        images: Images = self._memory.images[place][:count].copy()
        del self._asked[ticket], self._places[place]
        self._free.append(place)
        return images

    def close(self) -> None:
        """End the workers. What was asked for and not taken is lost."""
        if self._processes:
            self._end()

    def _start(self) -> None:
        size = self._store.image_size
        shape = (self._workers, self._batches, self._most_images, size)
        file = os.memfd_create("mqe-images")
        self._memory = SharedMemory(file, *shape)
        pieces, self._pieces = os.pipe()
        self._answers, answers = os.pipe()
        os.set_blocking(self._pieces, False)
        os.set_blocking(self._answers, False)
        given = {
            "store": str(self._store.path.resolve()),
            "fingerprint": self._store.fingerprint,
            "camera": self._camera,
            "memory": file,
            "shape": shape,
            "pieces": pieces,
            "answers": answers,
            "cache": None if self._cache is None else self._cache.to_hand_on(),
        }
        handed_on = (file, pieces, answers, *(() if self._cache is None else (self._cache.memory,)))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with starting_workers():
            for number in range(self._workers):
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", decoding_worker.__name__, json.dumps(given | {"number": number})],
                        stdin=subprocess.DEVNULL,
                        pass_fds=handed_on,
                        env=environment,
                    )
                )
        for ours_no_more in (file, pieces, answers):
            os.close(ours_no_more)
        self._ends = {os.pidfd_open(process.pid): number for number, process in enumerate(self._processes)}
        self._poll = select.poll()
        for watched in (self._answers, *self._ends):
            self._poll.register(watched, select.POLLIN)
        self._end = weakref.finalize(self, _end, self._processes, (self._pieces, self._answers, *self._ends))

    def _hand_out(self) -> None:
        """As many pieces as the pipe takes, which is thousands."""
        try:
            while self._to_hand_out:
                os.write(self._pieces, self._to_hand_out[0])
                self._to_hand_out.popleft()
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._wait()  # nobody is left to read: it says why

    def _wait(self, most_ms: int | None = None) -> None:
        """For answers, or for the end of a worker."""
        ready = {file for file, _ in self._poll.poll(most_ms)}
        if self._answers in ready:
            self._read_answers()
            self._hand_out()
        for file in sorted(ready & self._ends.keys()):
            self._read_answers()
            raise WorkerEndedError(self._how_it_ended(self._ends[file]))

    def _read_answers(self) -> None:
        try:
            records = os.read(self._answers, ANSWER.size * 256)
        except BlockingIOError:
            return
        for kind, worker, place, first in ANSWER.iter_unpack(records):
            if kind == TAKEN:
                self._at_work[worker] = place, first
                continue
            self._at_work.pop(worker, None)
            ticket = self._places[place]
            if kind == FAILED:
                self._failed.setdefault(ticket, self._memory.read_text(worker))
            self._asked[ticket][2].discard(first)

    def _how_it_ended(self, worker: int) -> str:
        process = self._processes[worker]
        code = process.wait()
        how = f"ended with exit code {code}; what it said stands above"
        if code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
            if code == -signal.SIGKILL:
                how += ": did the machine run out of memory?"
        return f"image worker {worker} (process {process.pid}) {how}; {self._work_of(worker)}"

    def _work_of(self, worker: int) -> str:
        if worker not in self._at_work:
            return "it was decoding nothing"
        place, first = self._at_work[worker]
        frames = self._memory.frames[place][first : first + self._piece]
        some = ", ".join(str(frame) for frame in frames[:_NAMED])
        return f"it was decoding {len(frames)} frames of camera {self._camera} of {self._store.path}: {some} …"


def _end(processes: list[subprocess.Popen[bytes]], files: tuple[int, ...]) -> None:
    for file in files:
        os.close(file)
    for process in processes:
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
