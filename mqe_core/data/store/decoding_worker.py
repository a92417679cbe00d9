"""The process that decodes images for a `DecodingPool`: it takes pieces of work until nobody can give it any more.

Pieces and answers are short records in two pipes that all workers share, frame numbers and images lie in memory
that all share. A pipe moves so few bytes whole, so each record reaches one worker, the one that is free. It ends when
the pipe of pieces does, also where the process at its other end was killed.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import sys
from typing import Any

import numpy as np

from mqe_core.data.store.encoded_cache import EncodedCache
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.files.text import parse_json
from mqe_core.robot.arrays import Images, Ints

PIECE = struct.Struct("<3i")  # place, first image there, how many
ANSWER = struct.Struct("<4i")  # one of the three below, the worker's number, place, first image of the piece
TAKEN, DONE, FAILED = range(3)
MOST_TEXT = 4096  # bytes of a worker's error
IMAGES_OF_A_PIECE = 64  # at most: a store decodes as many without threads


class SharedMemory:
    """What pool and workers share: a text for each worker, and places of frame numbers and images.

    Args:
        file: an open file that takes it, or holds it already.
        workers: how many.
        places: how many batches lie there at once.
        most_images: of a batch.
        size: of an image in pixels, square.
    """

    def __init__(self, file: int, workers: int, places: int, most_images: int, size: int) -> None:
        numbers, pixels = _whole_pages(8 * most_images), _whole_pages(3 * size * size * most_images)
        self._texts = _whole_pages(MOST_TEXT * workers)
        if os.fstat(file).st_size == 0:
            os.truncate(file, self._texts + places * (numbers + pixels))
        memory = mmap.mmap(file, 0)
        self._memory = memory
        begins = [self._texts + place * (numbers + pixels) for place in range(places)]
        self.frames: list[Ints] = [np.ndarray(most_images, np.int64, memory, begin) for begin in begins]
        shape = (most_images, size, size, 3)
        self.images: list[Images] = [np.ndarray(shape, np.uint8, memory, begin + numbers) for begin in begins]

    def write_text(self, worker: int, text: str) -> None:
        encoded = text.encode("utf-8", "backslashreplace")[: MOST_TEXT - 1]
        self._memory[worker * MOST_TEXT : worker * MOST_TEXT + len(encoded) + 1] = encoded + b"\0"

    def read_text(self, worker: int) -> str:
        whole = self._memory[worker * MOST_TEXT : (worker + 1) * MOST_TEXT]
        return whole.partition(b"\0")[0].decode("utf-8", "replace")


def _whole_pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def main(given: dict[str, Any]) -> None:
    """Decode until the pipe of pieces ends; `given` is what `DecodingPool` starts a worker with."""
    memory = SharedMemory(given["memory"], *given["shape"])
    number: int = given["number"]
    store: EpisodeStore | None = None
    while record := os.read(given["pieces"], PIECE.size):
        place, first, count = PIECE.unpack(record)
        os.write(given["answers"], ANSWER.pack(TAKEN, number, place, first))
        answer = DONE
        try:
            if store is None:
                store = _open(given["store"], given["fingerprint"])
                if given["cache"] is not None:
                    store.use_encoded(given["camera"], EncodedCache.inherited(given["cache"]))
            frames = memory.frames[place][first : first + count]
            memory.images[place][first : first + count] = store.images(frames, camera=given["camera"])
        except (ValueError, OSError) as error:
            memory.write_text(number, str(error))
            answer = FAILED
        os.write(given["answers"], ANSWER.pack(answer, number, place, first))


def _open(path: str, fingerprint: str) -> EpisodeStore:
    store = EpisodeStore.open(path)
    if store.fingerprint != fingerprint:
        raise ValueError(f"{path} was replaced by another store while it was in use")
    return store


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # nobody waits for an answer any more
        main(parse_json(sys.argv[1], "what a worker is started with"))
