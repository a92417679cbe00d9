"""EpisodeWriter: a store is whole or not there, whatever happens while it is written."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from tests.data.made_episodes import made_episode, write_store


def _fail(*_):
    raise OSError("disk gone")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"states": np.zeros((5, 6))}, r"states of shape \(T, 7\)"),
        ({"states": np.zeros((1, 7)), "actions": np.zeros((0, 7)), "images": {}}, "at least 2 frames"),
        ({"actions": np.zeros((5, 7))}, "expected 4 actions"),
        ({"actions": np.zeros((4, 5))}, "expected 4 actions of size 7"),
        ({"states": np.full((5, 7), np.nan)}, "not finite"),
        ({"actions": np.full((4, 7), 1e300)}, "not finite in float32"),
        ({"states": np.full((5, 7), "x")}, "numeric states"),
        ({"images": {0: [b""] * 4}}, "camera 0 has 4 images for 5 states"),
        ({"images": {-1: [b""] * 5}}, "camera numbers"),
    ],
)
def test_an_episode_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        made_episode(0, **changes)


def test_a_bad_image_leaves_the_writer_as_it_was(tmp_path):
    frames = [np.zeros((16, 16, 3), np.uint8)] * 4
    with EpisodeWriter(tmp_path / "store", image_size=16, source="test") as writer:
        writer.add(made_episode(0))
        with pytest.raises(ValueError, match="camera 1, frame 4: not a readable"):
            writer.add(made_episode(1, images={1: [*frames, b"junk"]}))
        with pytest.raises(ValueError, match="camera 1, frame 4: image is 16x12 pixels, the episode's first is 16x16"):
            writer.add(made_episode(1, images={1: [*frames, np.zeros((12, 16, 3), np.uint8)]}))
        with pytest.raises(ValueError, match="already in the store"):
            writer.add(made_episode(0))
        writer.add(made_episode(2))
    store = EpisodeStore.open(tmp_path / "store")
    assert store.names == ["episode0", "episode2"] and store.cameras == (0,)
    assert np.array_equal(store.images(np.arange(5, 10)), np.stack(made_episode(2).images[0]))


def test_an_empty_store_is_not_made(tmp_path):
    with pytest.raises(ValueError, match="no episode was added"):
        EpisodeWriter(tmp_path / "store", image_size=16, source="test").close()
    assert not any(tmp_path.iterdir())


def test_an_error_while_writing_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        with EpisodeWriter(tmp_path / "store", image_size=16, source="test") as writer:
            writer.add(made_episode(0))
            raise KeyboardInterrupt
    assert not any(tmp_path.iterdir())
    monkeypatch.setattr(os, "rename", _fail)
    with pytest.raises(OSError, match="disk gone"):
        write_store(tmp_path / "store", [made_episode(0)])
    assert not any(tmp_path.iterdir())


def test_a_crash_at_any_write_leaves_no_half_store_that_opens(tmp_path):
    """A process dies (no cleanup) at its k-th fsync, for every k: there is no store then, or a whole one."""
    script = """
import os, sys
import numpy as np
from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
root = sys.argv[1]
def build(path, die_at):
    count = 0
    def fsync(descriptor):
        nonlocal count
        count += 1
        if count == die_at:
            os._exit(9)
    os.fsync = fsync
    with EpisodeWriter(path, image_size=8, source="test") as writer:
        frames = [np.full((8, 8, 3), i, np.uint8) for i in range(3)]
        writer.add(Episode("a", np.zeros((3, 7)), np.zeros((2, 7)), {0: frames}))
    os._exit(0)
for k in range(1, 100):
    path = f"{root}/store{k}"
    pid = os.fork()
    if pid == 0:
        build(path, k)
    died = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    if os.path.exists(path):
        assert EpisodeStore.open(path).num_frames == 3
        EpisodeStore.open(path).verify()
    else:
        assert died
        try:
            EpisodeStore.open(path)
        except ValueError:
            pass
        else:
            raise AssertionError("a half store opened")
    if not died:
        print(k)
        break
"""
    result = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 7  # as many crash points as files, and the folder


def test_an_existing_store_is_replaced_only_when_told(tmp_path, monkeypatch):
    path = tmp_path / "store"
    old = write_store(path, [made_episode(0)])
    with pytest.raises(ValueError, match="already holds an EpisodeStore.*--force"):
        EpisodeWriter(path, image_size=16, source="test")
    with pytest.raises(RuntimeError, match="import failed"):
        with EpisodeWriter(path, image_size=16, source="test", overwrite=True) as writer:
            writer.add(made_episode(1))
            raise RuntimeError("import failed")
    assert EpisodeStore.open(path).fingerprint == old.fingerprint
    with monkeypatch.context() as patched:  # the second rename, of the new store into place, fails
        rename, calls = os.rename, []
        patched.setattr(os, "rename", lambda *a: calls.append(a) or (_fail() if len(calls) == 2 else rename(*a)))
        with pytest.raises(OSError, match="disk gone"):
            write_store(path, [made_episode(1)], overwrite=True)
    assert EpisodeStore.open(path).fingerprint == old.fingerprint and os.listdir(tmp_path) == ["store"]
    new = write_store(path, [made_episode(1)], overwrite=True)
    assert new.names == ["episode1"]
    assert os.listdir(tmp_path) == ["store"]


def test_what_is_no_store_is_never_replaced(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"precious")
    (folder / "metadata.json").write_text('{"kind": "something else"}')
    for target in (folder, folder / "a.png"):
        with pytest.raises(ValueError, match="is no EpisodeStore; it is left alone"):
            EpisodeWriter(target, image_size=16, source="test", overwrite=True)
    assert (folder / "a.png").read_bytes() == b"precious"


def test_leftovers_of_a_crash_are_pointed_at(tmp_path, caplog):
    (tmp_path / ".store.partial-1").mkdir()
    (tmp_path / ".store.replaced-2").mkdir()
    write_store(tmp_path / "store", [made_episode(0)])
    messages = "\n".join(record.getMessage() for record in caplog.records)
    assert ".store.partial-1: unfinished import" in messages and ".store.replaced-2: the store that" in messages


@pytest.mark.parametrize("size", [0, -1, 4097, 10**5])
def test_a_side_of_images_has_a_bound(tmp_path, size):
    with pytest.raises(ValueError, match="at least 1 pixel and at most 4096"):
        EpisodeWriter(tmp_path / "store", image_size=size)
    assert not list(tmp_path.iterdir())
