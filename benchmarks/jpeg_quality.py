"""What JPEG in the store costs and saves: python benchmarks/jpeg_quality.py SRC

For frames of a data set, resized as an import does it: bytes a frame, PSNR against the resized frame, and the time to
encode one. The other half of the question is what training makes of such frames; docs/benchmarks.md says how that is
asked.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from mqe_core import images
from mqe_core.data.importer import open_source
from mqe_core.data.source import EpisodeTask

EVERY = 4  # frames
MOST = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a data set that mqe data import reads")
    parser.add_argument("--size", type=int, default=128, help="pixels (default: %(default)s)")
    args = parser.parse_args()
    frames: list[np.ndarray] = []
    for task in open_source(args.source).tasks():
        for encoded in task.load().images.values() if isinstance(task, EpisodeTask) and len(frames) < MOST else ():
            pixels = (f if isinstance(f, np.ndarray) else images.decode(f) for f in encoded[::EVERY])
            frames += [images.squash_resize(frame, args.size) for frame in pixels]
    print(f"{len(frames)} frames of {args.source} at {args.size} px\n")
    print("| stored as | bytes a frame | PSNR, dB | to encode, µs |\n|---|---|---|---|")
    for quality in (None, 95, 90, 85, 75):
        start = time.process_time()
        stored = [images.encode_png(f) if quality is None else images.encode_jpeg(f, quality) for f in frames]
        encode_us = (time.process_time() - start) / len(frames) * 1e6
        pairs = zip(frames, stored)
        errors = [float(((images.decode(data).astype(float) - frame) ** 2).mean()) for frame, data in pairs]
        psnr = "exact" if quality is None else f"{10 * np.log10(255**2 / np.mean(errors)):.1f}"
        name = "PNG" if quality is None else f"JPEG q{quality}"
        print(f"| {name} | {np.mean([len(data) for data in stored]):,.0f} | {psnr} | {encode_us:.0f} |")


if __name__ == "__main__":
    main()
