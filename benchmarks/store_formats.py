"""Which container for encoded images: python -m benchmarks.store_formats --scratch FOLDER

Writes the same made frames into each, and reads them. Two sets: `frames` has images of full size, for bytes and for
reads; `index` has as many frames as BridgeData V2 (60,000 episodes, 2.3 million frames) of 16 bytes each, so that what
a format must know of each frame is of full size. Everything is measured in a process of its own. Cold: the page cache
was told to drop the files (posix_fadvise). Killed: an append was ended by SIGKILL, ten times at random moments; counted
is how often all that was there before was still read right afterwards.

The containers themselves, and what they need: store_containers.py.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.store_containers import FORMATS

BATCH = 1024  # frames of one read
ROUNDS = 7
FRAMES_OF_AN_EPISODE = 38
MEAN_BYTES = 8000  # of a JPEG of 128 pixels, quality 95


def made_frames(first: int, count: int, mean: int) -> list[bytes]:
    """Incompressible, of differing lengths; frame i is told by i alone."""
    noise = np.random.default_rng(0).bytes(4 * MEAN_BYTES)
    frames = []
    for i in range(first, first + count):
        length, start = mean // 2 + (i * 7919) % (mean + 1), (i * 104729) % MEAN_BYTES
        frames.append(i.to_bytes(8, "big") + noise[start : start + max(length - 8, 8)])
    return frames


def drop_caches(path: Path) -> None:
    for file in path.rglob("*"):
        if file.is_file():
            with open(file, "rb") as stream:
                os.fsync(stream.fileno())
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def chunks_of(count: int, mean: int) -> Any:
    step = 4096
    return (made_frames(first, min(step, count - first), mean) for first in range(0, count, step))


def task(kind: str, what: str, path: Path, count: int, mean: int) -> dict[str, float]:
    """One measurement, in this process."""
    one, before = FORMATS[kind], resident_mb()
    start = time.perf_counter()
    if what == "write":
        one.write(path, chunks_of(count, mean))
    elif what == "append":  # of frames that say who they are: the next ones
        one.append(path, made_frames(count, BATCH, mean))
    elif what == "open":
        take = one.open(path)
        first = take(np.array([count // 2]))
        seconds, grown = time.perf_counter() - start, resident_mb() - before
        assert first == made_frames(count // 2, 1, mean)
        return {"seconds": seconds, "mb": grown}
    else:
        rng, rates = np.random.default_rng(time.time_ns()), []
        if what == "cold":  # pages that a process has mapped are not dropped, so each read has a process of its own
            drop_caches(path)
        take = one.open(path)
        for _ in range(1 if what == "cold" else ROUNDS):
            rows = rng.integers(0, count, BATCH)
            start = time.perf_counter()
            frames = take(rows)
            rates.append(BATCH / (time.perf_counter() - start))
            wrong = [row for row, frame in zip(rows, frames) if frame != made_frames(int(row), 1, mean)[0]]
            assert not wrong, f"rows {wrong[:3]} are others"
        return {"rate": float(np.median(rates))}
    return {"seconds": time.perf_counter() - start}


def measured(kind: str, what: str, path: Path, count: int, mean: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.store_formats", "--task", kind, what, str(path), str(count), str(mean)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def kept_after_kills(kind: str, path: Path, count: int, mean: int, usual_s: float) -> int:
    """Of ten appends that are killed: after how many a read finds what was there before."""
    kept, rng = 0, np.random.default_rng(0)
    command = [
        sys.executable,
        "-m",
        "benchmarks.store_formats",
        "--task",
        kind,
        "append",
        str(path),
        str(count),
        str(mean),
    ]
    for _ in range(10):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(float(rng.uniform(0.3, 1.0)) * usual_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        try:
            measured(kind, "warm", path, count, mean)
            kept += 1
        except subprocess.CalledProcessError:
            return kept
    return kept


def row(kind: str, scratch: Path, episodes: int, index_episodes: int) -> str:
    """Of the table."""
    one, count, index = FORMATS[kind], episodes * FRAMES_OF_AN_EPISODE, index_episodes * FRAMES_OF_AN_EPISODE
    path, small = scratch / kind, scratch / f"{kind}-index"
    for old in (path, small):
        shutil.rmtree(old, ignore_errors=True)
    writing = measured(kind, "write", path, count, MEAN_BYTES)["seconds"]
    size = sum(file.stat().st_blocks * 512 for file in path.rglob("*") if file.is_file())
    cells = [f"{size / count:,.0f}", f"{count / writing:,.0f}"]
    cold = [measured(kind, "cold", path, count, MEAN_BYTES)["rate"] for _ in range(ROUNDS)]
    warm = measured(kind, "warm", path, count, MEAN_BYTES)["rate"]
    cells += [f"{np.median(cold):,.0f}", f"{warm:,.0f}"]
    if one.slow_to_index:
        index = count
    measured(kind, "write", small, index, 16)
    opened = measured(kind, "open", small, index, 16)
    cells += [f"{opened['seconds']:.3f} s", f"{opened['mb']:.0f} MB"]
    started = time.perf_counter()
    appended = measured(kind, "append", path, count, MEAN_BYTES)["seconds"]
    whole = time.perf_counter() - started
    cells += [f"{appended:.2f} s", f"{kept_after_kills(kind, path, count, MEAN_BYTES, whole)} of 10"]
    shutil.rmtree(path)
    shutil.rmtree(small)
    return f"| {one.name}{'¹' if one.slow_to_index else ''} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, default=Path("store-formats"), help="folder on the disk to measure")
    parser.add_argument("--episodes", type=int, default=2000, help="of the set with full frames (default: %(default)s)")
    parser.add_argument("--index-episodes", type=int, default=60_000, help="of the other (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=FORMATS, default=list(FORMATS), help="formats to measure")
    parser.add_argument("--task", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        kind, what, path, count, mean = args.task
        print(json.dumps(task(kind, what, Path(path), int(count), int(mean))))
        return
    args.scratch.mkdir(parents=True, exist_ok=True)
    print(f"{args.episodes} episodes; {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}\n")
    head = "format | bytes a frame | written frames/s | cold frames/s | warm frames/s | open and first frame"
    head += f" | memory at open | append of {BATCH} frames | whole after a kill"
    print(f"| {head} |\n{'|---' * 9}|")
    for kind in args.only:
        print(row(kind, args.scratch, args.episodes, args.index_episodes), flush=True)


if __name__ == "__main__":
    main()
