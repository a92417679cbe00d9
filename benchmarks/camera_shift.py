"""How surely a moved camera is told (`mqe_core/console/camera_shift.py`), on the episodes of a store.

    python -m benchmarks.camera_shift STORE [--camera N]

Per episode: the median of its pictures is the reference, where a bundle's is that of many episodes' first ones; one of
its pictures, as large as a camera's, is shifted sideways by 0, 20 and -40 pixels and compared. Then the first picture
of every other episode is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mqe_core import images
from mqe_core.console.camera_shift import Shift, camera_shift
from mqe_core.data.store.episode_store import EpisodeStore

SHIFTS = (0, 20, -40)
RIGHT_PX = 6.0  # of 640
LEVELS = (0, 5, 50, 95, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--camera", type=int, default=0)
    args = parser.parse_args()
    store, rng = EpisodeStore.open(args.store), np.random.default_rng(0)
    ends = store.episode_ends
    starts = ends - np.diff(ends, prepend=0)
    own: list[tuple[Shift, bool]] = []
    references, firsts = [], []
    for start, end in zip(starts, ends):
        frames = store.images(np.arange(start, end), camera=args.camera)
        references.append(np.median(frames, axis=0).astype(np.uint8))
        firsts.append(images.resize(frames[0], 480, 640))
        picture = images.resize(frames[rng.integers(len(frames))], 480, 640)
        for right in SHIFTS:
            found = camera_shift(np.roll(picture, right, axis=1), references[-1])
            own.append((found, abs(found.right - right) < RIGHT_PX and abs(found.down) < RIGHT_PX))
    others = [
        camera_shift(first, reference)
        for i, first in enumerate(firsts)
        for j, reference in enumerate(references)
        if i != j
    ]
    print(f"{len(references)} episodes, {len(own)} comparisons with the own view, {len(others)} with another's")
    for name, found in (("own", [one for one, _ in own]), ("another's", others)):
        peaks = np.percentile([one.peak for one in found], LEVELS)
        sure = np.mean([one.is_sure for one in found])
        print(f"{name}: sure in {100 * sure:.1f} %; peak at {LEVELS} %: {np.round(peaks, 3).tolist()}")
    sure_ones = [right for one, right in own if one.is_sure]
    print(f"of the sure ones {100 * np.mean(sure_ones):.1f} % are right to {RIGHT_PX:.0f} pixels of 640")


if __name__ == "__main__":
    main()
