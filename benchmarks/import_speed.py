"""Speed of import into an EpisodeStore, and of decoding one: python benchmarks/import_speed.py

Writes a raw BridgeData tree of made-up trajectories (45 frames of 128×96 JPEG, as the sim's collector does;
and of 640×480, as the robot's), imports it with one thread and with all cores, then decodes the whole store.
Disk, JPEG decoding, Lanczos and PNG encoding are all in the time.
"""

from __future__ import annotations

import argparse
import os
import pickle
import tempfile
import time
from pathlib import Path

import numpy as np

from mqe_core import images
from mqe_core.data.importer import import_episodes, open_source

FRAMES = 45


def write_tree(root: Path, episodes: int, width: int, height: int) -> None:
    """A raw tree of `episodes` trajectories whose frames show smooth blocks with camera noise."""
    rng = np.random.default_rng(0)
    blocks = images.squash_resize(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8), max(width, height))[:height, :width]
    for i in range(episodes):
        folder = root / "2026-01-01_00-00-00" / "raw" / f"traj_group{i // 1000}" / f"traj{i}"
        (folder / "images0").mkdir(parents=True)
        for t in range(FRAMES):
            frame = np.roll(blocks, 3 * (i + t), axis=1)
            frame = np.clip(frame + rng.normal(0, 3, frame.shape), 0, 255).astype(np.uint8)
            (folder / "images0" / f"im_{t}.jpg").write_bytes(images.encode_jpeg(frame))
        (folder / "obs_dict.pkl").write_bytes(pickle.dumps({"full_state": rng.normal(size=(FRAMES, 7))}))
        (folder / "policy_out.pkl").write_bytes(
            pickle.dumps([{"actions": action} for action in rng.normal(size=(FRAMES - 1, 7))])
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=100, help="trajectories per tree (default: %(default)s)")
    episodes = parser.parse_args().episodes
    cores = len(os.sched_getaffinity(0))
    print(f"{episodes} episodes of {FRAMES} frames, {cores} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| frames | store | threads | import episodes/s | import frames/s | decode frames/s |\n" + "|---" * 6 + "|")
    for (width, height), size in (((128, 96), 64), ((640, 480), 128)):
        with tempfile.TemporaryDirectory() as scratch:
            tree = Path(scratch) / "tree"
            write_tree(tree, episodes, width, height)
            for workers in sorted({1, cores}):
                start = time.perf_counter()
                store = import_episodes(
                    open_source(tree),
                    Path(scratch) / f"store{workers}",
                    image_size=size,
                    source_name="made up",
                    workers=workers,
                )
                import_s = time.perf_counter() - start
                start = time.perf_counter()
                store.images(np.arange(store.num_frames), workers=workers)
                decode_s = time.perf_counter() - start
                frames = store.num_frames
                rates = f"{episodes / import_s:.1f} | {frames / import_s:.0f} | {frames / decode_s:.0f}"
                print(f"| {width}×{height} | {size}×{size} | {workers} | {rates} |", flush=True)


if __name__ == "__main__":
    main()
