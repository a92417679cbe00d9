"""Promise: the range is of the training pictures alone, and the threshold lets held-out scenes pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.learning.export import reach_calibration
from mqe_core.learning.export.familiar_pictures import calibrate_familiarity

LENGTH, SIZE, SCENES = 6, 32, 12


def pictures(level: int) -> np.ndarray:
    """(LENGTH, SIZE, SIZE, 3): a table of one brightness, and a small bright thing that moves."""
    frames = np.full((LENGTH, SIZE, SIZE, 3), level, np.uint8)
    for number, frame in enumerate(frames):
        frame[4 * number : 4 * number + 4, :4] = 240
    return frames


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    """Scenes of brightness 100 to 111."""
    with EpisodeWriter(tmp_path / "store", image_size=SIZE, domain="sim") as writer:
        for scene in range(SCENES):
            name = f"task/2026-01-01_00-{scene:02d}-00/raw/traj_group0/traj0"
            frames = list(pictures(100 + scene))
            writer.add(Episode(name, np.zeros((LENGTH, 7)), np.zeros((LENGTH - 1, 7)), {0: frames}))
    return EpisodeStore.open(tmp_path / "store")


def test_held_out_scenes_pass_and_another_table_does_not(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach_calibration, "MOST_REFUSED", 0.5)
    every_other = np.arange(0, SCENES, 2)
    result = calibrate_familiarity(store, every_other, store, every_other + 1, 0)
    assert result.why_off is None and result.metrics["familiar/scenes"] == SCENES / 2
    known = result.familiarity
    assert known is not None and known.most_outside < 0.05
    assert known.darkest.min() >= 95 and known.lightest.max() >= 200  # the scenes that training saw, by JPEG's grain
    own = [known.outside(image) for image in pictures(105)]
    moved = [known.outside(np.roll(image, 8, axis=1)) for image in pictures(105)]  # the thing where none ever was
    assert max(own) <= known.most_outside < min(moved)
    assert min(known.outside(image) for image in pictures(140)) > 0.5


def test_few_scenes_give_no_threshold_and_say_so(store: EpisodeStore) -> None:
    result = calibrate_familiarity(store, np.arange(6), store, np.arange(6, SCENES), 0)
    assert result.familiarity is None and result.metrics["familiar/scenes"] == 6.0
    assert result.why_off == "6 held-out scenes are too few for a threshold, 299 are needed"
