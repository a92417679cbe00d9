"""Promise: of a recording with several cameras it is told which is meant, and each frame is of its command's moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mqe_core import ros_names
from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.images import squash_resize
from mqe_core.robot.spec import RobotSpec
from tests.data.written_bag import WRIST, Bag, picture, walk


class _TwoCameras(Bag):
    """Before each image of the policy's camera comes one of the wrist's, and after it another one."""

    wrist: list[np.ndarray]

    def image(self, topic: str, pixels: np.ndarray) -> None:
        if topic == WRIST or topic == ros_names.GOAL_IMAGE:
            super().image(topic, pixels)
            return
        seeds = 1000 + 2 * len(self.wrist), 1001 + 2 * len(self.wrist)
        self.wrist.append(picture(seeds[0]))
        super().image(WRIST, self.wrist[-1])
        super().image(ros_names.IMAGE, pixels)
        own = self.newest_crc32
        super().image(WRIST, picture(seeds[1]))
        self.newest_crc32 = own


class _Renamed(Bag):
    """The policy's images come under another name."""

    def write(self, topic: str, message) -> None:
        super().write(WRIST if topic == ros_names.IMAGE else topic, message)


def _recorded(folder: Path, spec: RobotSpec) -> tuple[list, list]:
    bag = _TwoCameras(folder, spec)
    bag.wrist = []
    bag.diagnostics("sim")
    own, *_ = walk(bag, 4)
    bag.writer.close()
    return own, bag.wrist


def _imported(source: Path, out: Path, *cameras: str) -> EpisodeStore:
    return import_episodes(open_source(source, cameras=cameras), out, image_size=16, source_name="bag")


def test_the_policys_camera_is_imported_and_the_other_one_is_told(
    spec: RobotSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own, _ = _recorded(tmp_path / "day", spec)
    store = _imported(tmp_path / "day", tmp_path / "store")
    np.testing.assert_array_equal(store.images(np.arange(4)), [squash_resize(image, 16) for image in own])
    assert f"images under {WRIST} are not imported (in 1 episodes)" in caplog.text


def test_each_camera_that_is_asked_for_has_the_frame_of_that_moment(spec: RobotSpec, tmp_path: Path) -> None:
    own, wrist = _recorded(tmp_path / "day", spec)
    store = _imported(tmp_path / "day", tmp_path / "store", WRIST, ros_names.IMAGE)
    assert store.cameras == (0, 1)
    for camera, frames in enumerate((wrist, own)):
        np.testing.assert_array_equal(store.images(np.arange(4), camera), [squash_resize(one, 16) for one in frames])


def test_a_camera_that_was_silent_gives_no_frame(spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "day", spec)
    bag.diagnostics("sim")
    bag.image(WRIST, picture(0))
    walk(bag, 9)  # the wrist's picture is older than a second from the sixth command on
    bag.writer.close()
    assert _imported(tmp_path / "day", tmp_path / "store", WRIST).num_frames == 6


def test_a_camera_under_another_name_is_named_and_can_be_asked_for(spec: RobotSpec, tmp_path: Path) -> None:
    """A recording of somebody's own, made while the policy read a topic of another name."""
    bag = _Renamed(tmp_path / "day", spec)
    bag.diagnostics("sim")
    own, *_ = walk(bag, 4)
    bag.writer.close()
    with pytest.raises(ValueError, match=f"no camera under a known key .*{WRIST}; say which is meant with --camera"):
        _imported(tmp_path / "day", tmp_path / "store")
    store = _imported(tmp_path / "day", tmp_path / "store", WRIST)
    np.testing.assert_array_equal(store.images(np.arange(4)), [squash_resize(image, 16) for image in own])
