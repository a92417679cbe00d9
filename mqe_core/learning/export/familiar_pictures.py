"""What the training pictures span (`mqe_core/policy/familiarity.py`), and how much of held-out ones lies outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.export.reach_calibration import fewest_scenes, hardest, most_beyond
from mqe_core.learning.rows.scenes import scene_ends
from mqe_core.policy.familiarity import GRID, Familiarity, cells
from mqe_core.robot.arrays import Images, Ints

_MOST_FRAMES = 5000  # of the training data, spread evenly: more hardly widen the range


@dataclass(frozen=True, eq=False)
class FamiliarCalibration:
    """What the bundle is to know, None where too few scenes were held out; and the metrics."""

    familiarity: Familiarity | None
    metrics: dict[str, float]
    why_off: str | None


def calibrate_familiarity(
    trained: EpisodeStore, seen: Ints, held_out: EpisodeStore, episodes: Ints, camera: int
) -> FamiliarCalibration:
    """The range of the pictures of the episodes `seen` of `trained`, and the threshold at which, with 95 % confidence,
    at most 1 % of the scenes of `episodes` of `held_out` give a warning (three pictures in a row, or the first one).

    The metrics: `familiar/scenes`, `familiar/outside_median` and `familiar/outside_most` (over the scenes).
    """
    darkest, lightest = range_of(trained, seen, camera)
    span = Familiarity(darkest, lightest, 1.0)
    ends = scene_ends(held_out)
    by_scene: dict[int, float] = {}
    for episode in episodes:
        its = _frames(held_out, np.array([episode]), camera)
        if len(its):
            outside = np.array([span.outside(image) for image in held_out.images(its, camera=camera)])
            scene = int(np.searchsorted(ends, its[-1], side="right"))
            by_scene[scene] = max(by_scene.get(scene, 0.0), hardest(outside))
    worst = np.sort(list(by_scene.values()))
    if not len(worst):
        return FamiliarCalibration(None, {"familiar/scenes": 0.0}, "no held-out episode has images")
    metrics = {
        "familiar/scenes": float(len(worst)),
        "familiar/outside_median": float(np.median(worst)),
        "familiar/outside_most": float(worst[-1]),
    }
    beyond = most_beyond(len(worst))
    if beyond is None:
        return FamiliarCalibration(
            None, metrics, f"{len(worst)} held-out scenes are too few for a threshold, {fewest_scenes()} are needed"
        )
    return FamiliarCalibration(Familiarity(darkest, lightest, float(worst[-1 - beyond])), metrics, None)


def range_of(store: EpisodeStore, episodes: Ints, camera: int) -> tuple[Images, Images]:
    """The darkest and the lightest cells (GRID, GRID, 3) uint8 of these episodes' pictures."""
    frames = _frames(store, episodes, camera)
    frames = frames[np.linspace(0, len(frames) - 1, min(_MOST_FRAMES, len(frames))).astype(int)]
    darkest = np.full((GRID, GRID, 3), 255, np.uint8)
    lightest = np.zeros((GRID, GRID, 3), np.uint8)
    for part in np.array_split(frames, max(1, len(frames) // 256)):
        shrunk = _cells(store, part, camera)
        np.minimum(darkest, shrunk.min(axis=0), out=darkest)
        np.maximum(lightest, shrunk.max(axis=0), out=lightest)
    return darkest, lightest


def _frames(store: EpisodeStore, episodes: Ints, camera: int) -> Ints:
    """The frames with an image of these episodes."""
    of_episode = np.repeat(np.arange(store.num_episodes), np.diff(store.episode_ends, prepend=0))
    return np.flatnonzero(np.isin(of_episode, episodes) & store.has_image(camera))


def _cells(store: EpisodeStore, frames: Ints, camera: int) -> Images:
    return np.stack([cells(image) for image in store.images(frames, camera=camera)])
