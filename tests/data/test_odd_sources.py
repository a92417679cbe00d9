"""Promise: odd names and things that are no files, below a source, are read or named; nothing is waited for."""

from __future__ import annotations

import os

import pytest

from mqe_core.data.store.episode_store import EpisodeStore
from tests.data.test_source_files import _files, _import, day

__all__ = ["day"]


@pytest.mark.parametrize("cameras", [[""], ["images0", "images0"], ["images0", ""]])
def test_each_camera_has_one_key(day, tmp_path, cameras, capsys) -> None:
    options = [option for camera in cameras for option in ("--camera", camera)]
    assert _import(day.root, tmp_path / "store", *options) == 1
    assert "expected one key for each camera" in capsys.readouterr().err


def test_names_of_images_in_capitals_are_those_of_images(day, tmp_path) -> None:
    for made in day.made:
        for image in list((made.folder / "images0").iterdir()):
            image.rename(image.with_name(image.name.upper()))
    assert _import(day.root, tmp_path / "store") == 0
    assert EpisodeStore.open(tmp_path / "store").num_episodes == len(day.made)


def test_a_pipe_is_named_and_not_waited_for(day, tmp_path) -> None:
    (first, *_) = day.made
    (first.folder / "images0/im_1.jpg").unlink()
    os.mkfifo(first.folder / "images0/im_1.jpg")
    os.mkfifo(day.root / "x-train.tfrecord-00000-of-00001")
    assert _import(day.root, tmp_path / "store") == 0
    assert _files(tmp_path / "store")["a pipe, a socket or a device"][0] == 2
    (skipped,) = EpisodeStore.open(tmp_path / "store").skipped
    assert "a pipe, where a file was expected" in skipped.reason
