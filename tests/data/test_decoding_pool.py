"""Images come from other processes as they come from the store; who dies or fails there is named; nobody is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mqe_core.data.store.decoding_pool import DecodingPool, WorkerEndedError
from mqe_core.data.store.episode_store import EpisodeStore
from tests.data.made_episodes import made_episode, write_store


def _pids(pool: DecodingPool) -> list[int]:
    return [process.pid for process in pool._processes]


def _is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _end_within(pids: list[int], seconds: float = 30.0) -> bool:
    until = time.monotonic() + seconds
    while any(map(_is_running, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(_is_running, pids))


@pytest.fixture()
def store(tmp_path: Path) -> EpisodeStore:
    return write_store(tmp_path / "store", [made_episode(i, 9, (0, 1)) for i in range(4)])


def test_batches_are_those_of_the_store_in_whatever_order_they_are_taken(store: EpisodeStore) -> None:
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, store.num_frames, size) for size in (150, 1, 149, 0)]
    pool = DecodingPool(store, 1, workers=2, most_images=150, batches=4)
    for order in ((0, 1, 2, 3), (2, 0, 3, 1)):
        tickets = [pool.ask(frames) for frames in batches]
        for k in order:
            np.testing.assert_array_equal(pool.take(tickets[k]), store.images(batches[k], camera=1))
    pids = _pids(pool)
    pool.close()
    assert len(pids) == 2 and not any(map(_is_running, pids))


def test_a_killed_worker_is_named_with_what_it_did(store: EpisodeStore) -> None:
    pool = DecodingPool(store, 0, workers=2, most_images=64, batches=2)
    pool.take(pool.ask(np.arange(8)))
    pids = _pids(pool)
    os.kill(pids[1], signal.SIGKILL)
    with pytest.raises(WorkerEndedError, match=rf"image worker 1 \(process {pids[1]}\) was ended by SIGKILL: did"):
        for _ in range(1000):
            pool.take(pool.ask(np.arange(30)))
    pool.close()
    assert not any(map(_is_running, pids))


def test_a_damaged_image_is_the_error_of_its_own_batch(store: EpisodeStore) -> None:
    pool = DecodingPool(store, 0, workers=2, most_images=9, batches=2)
    pool.take(pool.ask(np.arange(9)))
    file = store.path / "camera_0.bin"
    damaged = bytearray(file.read_bytes())
    damaged[-50:] = bytes(50)
    file.write_bytes(damaged)
    whole, broken = pool.ask(np.arange(9)), pool.ask(np.array([3, store.num_frames - 1]))
    assert len(pool.take(whole)) == 9
    with pytest.raises(ValueError, match=rf"camera_0.bin: frame {store.num_frames - 1}: not a readable.*damaged"):
        pool.take(broken)
    pool.close()


def test_a_store_that_was_replaced_is_not_read(store: EpisodeStore) -> None:
    pool = DecodingPool(store, 0, workers=1, most_images=9, batches=1)
    write_store(store.path, [made_episode(9, 9)], overwrite=True)
    with pytest.raises(ValueError, match="was replaced by another store"):
        pool.take(pool.ask(np.arange(9)))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_the_process_that_started_it(store: EpisodeStore, how: signal.Signals) -> None:
    program = """
import sys, time
import numpy as np
from mqe_core.data.store.decoding_pool import DecodingPool
from mqe_core.data.store.episode_store import EpisodeStore

pool = DecodingPool(EpisodeStore.open(sys.argv[1]), 0, workers=2, most_images=30, batches=2)
pool.take(pool.ask(np.arange(30)))
pool.ask(np.arange(30))
print(*(process.pid for process in pool._processes), flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program, str(store.path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    assert len(pids) == 2
    process.send_signal(how)
    process.wait()
    process.stdout.close()
    assert _end_within(pids)
