"""What lets a large store open quickly: arrays that stay on the disk, lines that are read one by one, reads of what is
asked for; and that nothing is let through by it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mqe_core.data.append import adding_to
from mqe_core.data.episode import EncodedEpisode
from mqe_core.data.merge import merge_stores
from mqe_core.data.store.checks import check_arrays
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.data.store.image_file import ImageFile
from tests.data.made_episodes import made_episode, write_store

OLD_STORE = Path(__file__).parents[1] / "formats" / "v0_1" / "store"


def test_a_store_of_schema_1_opens_and_is_merged_with_one_of_today(tmp_path: Path) -> None:
    shutil.copytree(OLD_STORE, tmp_path / "old")
    old = EpisodeStore.open(tmp_path / "old")
    assert json.loads((tmp_path / "old" / "metadata.json").read_text())["schema"] == 1
    assert old.names == [episode["name"] for episode in json.loads((tmp_path / "old" / "episodes.json").read_text())]
    new = write_store(tmp_path / "new", [made_episode(0)], domain="sim")
    assert json.loads((tmp_path / "new" / "metadata.json").read_text())["schema"] == 3
    both = merge_stores([old, new], tmp_path / "both")
    assert both.names == [*old.names, "episode0"] and both.languages[-1] == ["task 0"]
    frames = np.arange(old.num_frames - 2, old.num_frames + 2)  # across the border
    images = [old.images(frames[:2]), new.images(np.arange(2))]
    np.testing.assert_array_equal(both.images(frames), np.concatenate(images))
    np.testing.assert_array_equal(both.states, np.concatenate([old.states, new.states]))
    assert both.encoded_episode(3).images == new.encoded_episode(0).images
    with adding_to(both.path):  # it takes more
        pass


def test_names_that_are_no_utf8_and_long_labels_come_back(tmp_path: Path) -> None:
    odd = ["grüß\ndich", "b\udcffc", 'with "quotes" and \\', "\u2028"]
    written = [made_episode(i, name=name, languages=(name * 50, "")) for i, name in enumerate(odd)]
    store = write_store(tmp_path / "store", written)
    assert store.names == odd
    assert store.languages == [[name * 50, ""] for name in odd]
    assert store.encoded_episode(2).name == odd[2]
    assert len((tmp_path / "store" / "episodes.jsonl").read_bytes().split(b"\n")) == 5


@pytest.mark.parametrize("line", [b"[]", b"{}", b'{"name": 3, "languages": []}', b"{", b"\xff", b'{"a":1},{"b":1}'])
def test_a_damaged_line_is_named_when_it_is_asked_for(tmp_path: Path, line: bytes) -> None:
    write_store(tmp_path / "store", [made_episode(i) for i in range(3)])
    file = tmp_path / "store" / "episodes.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + line.ljust(len(lines[1]) - 1) + b"\n" + lines[2])
    store = EpisodeStore.open(tmp_path / "store")
    assert store.encoded_episode(2).name == "episode2"
    for read in (lambda: store.names, lambda: store.encoded_episode(1), store.verify):
        with pytest.raises(ValueError, match=r"episodes.jsonl.*import its source again"):
            read()


@pytest.mark.parametrize("change", [lambda a: a + 1, lambda a: a[::-1].copy(), lambda a: np.append(a[:-1], a[-1] + 9)])
def test_lines_that_do_not_fit_their_file_are_refused(tmp_path: Path, change) -> None:
    store = write_store(tmp_path / "store", [made_episode(i) for i in range(3)])
    arrays = {file.stem: np.load(file) for file in store.path.glob("*.npy")}
    check_arrays(store.path, store.metadata, arrays)
    with pytest.raises(ValueError, match=r"episode_lines.npy: lines do not rise"):
        check_arrays(store.path, store.metadata, {**arrays, "episode_lines": change(arrays["episode_lines"])})


def test_checks_see_beyond_the_first_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are made small: whatever is wrong, wherever the borders lie, it is found as it is in one block."""
    episodes = [made_episode(i, 3 + i, () if i % 3 == 2 else (0,)) for i in range(9)]
    store = write_store(tmp_path / "store", episodes)
    rng = np.random.default_rng(0)
    for rows in (1, 2, 5, 1000):
        monkeypatch.setattr("mqe_core.data.store.checks._BLOCK_BYTES", rows * 28)
        EpisodeStore.open(store.path)
        for _ in range(6):
            for name in ("actions", "camera_0_offsets"):
                path = tmp_path / "damaged"
                shutil.copytree(store.path, path)
                array = np.load(path / f"{name}.npy")
                row = int(rng.integers(1, len(array) - 1))
                if name == "actions":
                    is_last = row + 1 in store.episode_ends
                    array[row, 3] = 0.0 if is_last else rng.choice([np.nan, np.inf])
                else:
                    array[row] = array[row - 1] if array[row] > array[row - 1] else array[row] + 1
                np.save(path / f"{name}.npy", array)
                with pytest.raises(ValueError, match=f"{name}.npy"):
                    EpisodeStore.open(path)
                shutil.rmtree(path)


def test_frames_are_read_alone_or_with_neighbours(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.bytes(int(size)) for size in rng.integers(0, 40, 50)]
    (tmp_path / "file").write_bytes(b"".join(frames))
    file = ImageFile(tmp_path / "file", np.cumsum([0, *map(len, frames)]))
    for wanted in ([], [3], [3, 4, 5, 9, 9, 10, 2, 3], [*range(50)], [49, 0], rng.integers(0, 50, 200).tolist()):
        assert file.read(np.array(wanted, dtype=np.int64)) == [frames[i] for i in wanted]


def test_a_file_that_is_cut_short_while_it_is_open_is_named(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [made_episode(0)])
    file = tmp_path / "store" / "camera_0.bin"
    file.write_bytes(file.read_bytes()[:-20])  # a mapped file would end this process here
    with pytest.raises(ValueError, match=r"camera_0.bin: it ends before frame 4 does"):
        store.images(np.arange(5))


def test_arrays_of_another_order_or_with_more_behind_them_are_refused(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [made_episode(0)])
    metadata = json.loads((store.path / "metadata.json").read_text())
    states = store.path / "states.npy"
    row_by_row = states.read_bytes()
    np.save(states, np.asfortranarray(np.load(states)))
    assert states.stat().st_size == metadata["files"]["states.npy"]["bytes"]
    with pytest.raises(ValueError, match=r"states.npy: expected an array row by row"):
        EpisodeStore.open(store.path)
    states.write_bytes(row_by_row)
    EpisodeStore.open(store.path).verify()
    assert hashlib.sha256(row_by_row).hexdigest() == metadata["files"]["states.npy"]["sha256"]


def test_memory_at_opening_does_not_grow_with_the_store(tmp_path: Path) -> None:
    """1,000 episodes of 300 frames have 17 MB of states and actions and 2.4 MB of offsets."""
    with EpisodeWriter(tmp_path / "store", image_size=16) as writer:
        states, actions = np.zeros((300, 7), np.float32), np.zeros((299, 7), np.float32)
        for i in range(1000):
            frames = {0: [b"0123456789"] * 300}
            writer.add(EncodedEpisode(f"episode {i}", states, actions, frames, ("a label",), enlarged=False))
    program = """
import sys, resource
from pathlib import Path
from mqe_core.data.store.episode_store import EpisodeStore

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

before = resident()
store = EpisodeStore.open(sys.argv[1])
print(resident() - before, store.num_frames)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "store")], capture_output=True, text=True)
    grown, num_frames = map(int, done.stdout.split())
    assert num_frames == 300_000 and grown < 6_000_000
