"""What the camera saw in all episodes alike: `mqe_core/policy/reference_picture.py`."""

from __future__ import annotations

import numpy as np

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.robot.arrays import Images

_MOST_EPISODES = 200  # spread evenly: more hardly change the median
_STILL = 20  # of 255: by so much a value of a thing that stands still may differ, by noise or a lamp
_MOST_THAT_MOVES = 0.5  # of a picture's pixels; more, and there is no common view


def still_picture(store: EpisodeStore, camera: int, size: int) -> Images | None:
    """(size, size, 3) uint8: the median of the episodes' first pictures, in which what is elsewhere in each has
    vanished. None where there are no such pictures of that size, or no common view: a table of its own for each.
    """
    first = store.episode_ends - np.diff(store.episode_ends, prepend=0)
    first = first[store.has_image(camera)[first]]
    if not len(first) or store.image_size != size:
        return None
    chosen = first[np.linspace(0, len(first) - 1, min(_MOST_EPISODES, len(first))).astype(int)]
    pictures = store.images(chosen, camera=camera)
    still: Images = np.median(pictures, axis=0).astype(np.uint8)
    moves = [(np.abs(picture.astype(np.int16) - still).max(axis=-1) > _STILL).mean() for picture in pictures]
    return still if np.median(moves) <= _MOST_THAT_MOVES else None
