"""Promise: a command is never paired with another frame than its own, whatever the camera's stamps say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mqe_core import ros_names
from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.readers.bag_messages import NewestImages, bag_files, messages
from mqe_core.data.readers.bag_sessions import Sessions, recorded_decisions
from mqe_core.images import encode_png
from mqe_core.robot.spec import RobotSpec
from tests.data.written_bag import Bag, walk


class _Stamps(Bag):
    """Its camera stamps what it is told to."""

    def picture(self, value: int, stamp: float) -> None:
        """A picture of that brightness."""
        message = self.make(
            "sensor_msgs/msg/Image", header=self.header(stamp), height=2, width=2, encoding="rgb8", is_bigendian=0,
            step=6, data=np.full(12, value, np.uint8),
        )  # fmt: skip
        self.write(ros_names.IMAGE, message)

    def compressed(self, value: int, stamp: float) -> None:
        data = np.frombuffer(encode_png(np.full((2, 2, 3), value, np.uint8)), np.uint8)
        kind = "sensor_msgs/msg/CompressedImage"
        self.write(ros_names.COMPRESSED_IMAGE, self.make(kind, header=self.header(stamp), format="png", data=data))

    def decided(self) -> tuple[list[int | None], NewestImages]:
        """By command the brightness of the image that it is paired with, and how these were found."""
        self.writer.close()
        files, images = bag_files(self.folder), NewestImages()
        decisions = recorded_decisions(files, Sessions(files), images)
        return [None if one.image is None else int(one.image[0, 0, 0]) for one in decisions], images


def _recorded(spec: RobotSpec, folder: Path, stamps: list[list[float]], names_images: bool) -> _Stamps:
    """Images of these stamps come before each command, each brighter than the one before."""
    bag, brightness = _Stamps(folder, spec), 0
    bag.names_images = names_images
    for sequence, row in enumerate(stamps, 1):
        for given in row:
            bag.picture(brightness, given)
            brightness += 1
        if names_images:
            bag.time = row[-1]  # what it says of the stamp, which does not count
        bag.command(sequence, 1.0, image_time=None if names_images else row[-1])
        bag.time = 100.0 + 0.2 * sequence
    return bag


_CAMERAS = {  # stamps of the images before each command; by stamps; by what the commands name
    "in order": ([[1.0], [2.0], [3.0]], [0, 1, 2], [0, 1, 2]),
    "backwards": ([[3.0], [2.0], [1.0]], [0, 1, 2], [0, 1, 2]),
    "twice": ([[1.0, 1.0], [2.0, 2.0, 2.0]], [0, 2], [1, 4]),  # a policy node drops the later ones
    "none": ([[0.0], [0.0], [0.0]], [0, None, None], [0, 1, 2]),
    "back again": ([[1.0], [2.0], [1.0]], [0, 1, None], [0, 1, 2]),  # a clock that was set back
}


@pytest.mark.parametrize("camera", _CAMERAS)
def test_the_frame_of_a_command_that_names_none_is_its_own_or_none(
    spec: RobotSpec, tmp_path: Path, camera: str
) -> None:
    stamps, expected, _ = _CAMERAS[camera]
    decided, images = _recorded(spec, tmp_path / "bag", stamps, names_images=False).decided()
    assert decided == expected
    assert (images.by_stamp, images.untold) == (len(stamps), expected.count(None))


@pytest.mark.parametrize("camera", _CAMERAS)
def test_the_frame_of_a_command_that_names_it_is_its_own_whatever_the_stamps(
    spec: RobotSpec, tmp_path: Path, camera: str
) -> None:
    stamps, _, expected = _CAMERAS[camera]
    decided, images = _recorded(spec, tmp_path / "bag", stamps, names_images=True).decided()
    assert decided == expected
    assert (images.by_stamp, images.untold, images.absent) == (0, 0, 0)


def test_compressed_images_are_named_as_well_and_others_beside_them_are_not_meant(
    spec: RobotSpec, tmp_path: Path
) -> None:
    bag = _Stamps(tmp_path / "bag", spec)
    for sequence, value in enumerate((10, 20), 1):
        bag.picture(value + 5, 0.0)
        bag.compressed(value, 0.0)
        bag.command(sequence, 1.0)
    assert bag.decided()[0] == [10, 20]


def test_of_the_same_pictures_it_is_the_newest_and_of_those_gone_by_it_is_none(spec: RobotSpec, tmp_path: Path) -> None:
    bag = _Stamps(tmp_path / "bag", spec)
    for value in (1, 1, 2, 1):
        bag.picture(value, 0.0)
    bag.command(1, 1.0)
    bag.newest_crc32 = 12345
    bag.command(2, 1.0)
    decided, images = bag.decided()
    assert decided == [1, None] and images.absent == 1
    newest, files = NewestImages(), bag_files(bag.folder)
    for got in messages(files[0], (ros_names.IMAGE,)):
        newest.add(got)
        last = got.message
    (command,) = [got.message for got in messages(files[0], (ros_names.COMMAND,)) if got.message.sequence == 1]
    assert newest.of(command) is last


class _Unstamped(Bag):
    """Its camera does not set its stamp."""

    def header(self, time: float | None = None):
        return super().header(time if self.of_arm else 0.0)

    of_arm = True

    def image(self, topic: str, pixels: np.ndarray) -> None:
        self.of_arm = False
        super().image(topic, pixels)
        self.of_arm = True

    def command(self, *arguments, **options) -> None:
        super().command(*arguments, **({} if self.names_images else {"image_time": 0.0}) | options)


def test_an_import_tells_what_stamps_cost(spec: RobotSpec, tmp_path: Path) -> None:
    bag = _Unstamped(tmp_path / "src/day", spec)
    bag.names_images = False
    bag.diagnostics("sim")
    walk(bag, 4)
    bag.writer.close()
    with pytest.raises(ValueError, match="3 commands are left out: several images carry the stamp of theirs"):
        import_episodes(open_source(tmp_path / "src"), tmp_path / "store", image_size=16, source_name="bag")


def test_a_camera_without_stamps_costs_nothing_where_commands_name_their_images(
    spec: RobotSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shown: dict[bool, list[np.ndarray]] = {}
    for is_stamped in (True, False):
        bag = (Bag if is_stamped else _Unstamped)(tmp_path / f"{is_stamped}/day", spec)
        bag.diagnostics("sim")
        walk(bag, 4)
        bag.writer.close()
        source, out = open_source(tmp_path / f"{is_stamped}"), tmp_path / f"store-{is_stamped}"
        store = import_episodes(source, out, image_size=16, source_name="bag")
        assert store.skipped == ()
        shown[is_stamped] = [store.images(np.arange(4)), store.states, store.actions]
    assert [store.shape for store in shown[False]] == [(4, 16, 16, 3), (4, 7), (4, 7)]
    for stamped, unstamped in zip(shown[True], shown[False]):
        np.testing.assert_array_equal(stamped, unstamped)
    assert "identified by the camera's stamps" not in caplog.text


def test_commands_that_name_no_image_are_told_of(
    spec: RobotSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bag = Bag(tmp_path / "src/day", spec)
    bag.names_images = False
    bag.diagnostics("sim")
    walk(bag, 4)
    bag.writer.close()
    store = import_episodes(open_source(tmp_path / "src"), tmp_path / "store", image_size=16, source_name="bag")
    assert store.num_frames == 4
    told = "4 commands do not name their images, as those of earlier versions do not: these are identified by the"
    assert caplog.text.count(told) == 1


def test_a_lost_image_is_told_of(spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "src/day", spec)
    bag.diagnostics("sim")
    walk(bag, 3)
    bag.newest_crc32 = 12345
    bag.command(4, 1.0)
    bag.writer.close()
    store = import_episodes(open_source(tmp_path / "src"), tmp_path / "store", image_size=16, source_name="bag")
    assert store.num_frames == 3
    (skipped,) = store.skipped
    assert skipped.reason == "1 commands are left out: their images are not in the recording"
