"""Promise: `mqe data verify` finds every byte that changed, says of which frames it is, and reads on all cores."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from mqe_core.cli import main
from mqe_core.data.store import checksums, verify
from mqe_core.data.store.checksums import Checksums, checksums_of
from mqe_core.data.store.episode_store import EpisodeStore
from tests.data.made_episodes import made_episode, write_store
from tests.data.restarted import contents, import_tree
from tests.data.test_restart import stopped

__all__ = ["stopped"]
BLOCK = 2000


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch) -> None:
    monkeypatch.setattr(checksums, "BLOCK_BYTES", BLOCK)


@pytest.fixture
def store(tmp_path) -> EpisodeStore:
    return write_store(tmp_path / "store", [made_episode(number) for number in range(4)])


def _flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("pieces", [[1] * 4001, [2000, 2000, 1], [4001], [1999, 2, 2000], [0, 4001, 0]])
def test_blocks_are_the_same_however_the_bytes_come(pieces) -> None:
    data, whole, at = np.random.default_rng(0).bytes(4001), Checksums(), 0
    for size in pieces:
        copied = whole.copy()
        whole.update(data[at : at + size])
        assert copied.num_bytes == at
        at += size
    assert whole.entry() == checksums_of(data).entry()
    assert whole.entry()["blocks"]["sha256"] == [checksums_of(data[i : i + 2000]).sha256 for i in (0, 2000, 4000)]


@pytest.mark.parametrize("size", [0, 1, BLOCK])
def test_a_file_of_one_block_has_none_of_its_own(size) -> None:
    assert set(checksums_of(bytes(size)).entry()) == {"bytes", "sha256"}


def test_whole_stores_pass(store, capsys) -> None:
    files = store.metadata["files"]
    assert len(files["camera_0.bin"]["blocks"]["sha256"]) > 3 and "blocks" not in files["episode_ends.npy"]
    found = store.verify()
    assert found.files == len(files) and found.num_bytes == sum(entry["bytes"] for entry in files.values())
    assert main(["data", "verify", str(store.path)]) == 0
    assert "as they were written" in capsys.readouterr().out


def test_each_changed_byte_is_found_with_its_frames(store) -> None:
    file = store.path / "camera_0.bin"
    size = file.stat().st_size
    offsets = np.load(store.path / "camera_0_offsets.npy")
    for at in [0, BLOCK - 1, BLOCK, size // 2, size - 1]:
        _flip(file, at)
        with pytest.raises(ValueError, match=r"camera_0.bin: .*sha256 differs\) in 1 of") as error:
            store.verify()
        begin = at // BLOCK * BLOCK
        last = int(np.searchsorted(offsets, min(begin + BLOCK, size) - 1, side="right")) - 1
        first = int(np.searchsorted(offsets, begin, side="right")) - 1
        assert f"frames {first} to {last}, episodes 'episode{first // 5}' to 'episode{last // 5}'" in str(error.value)
        _flip(file, at)
    store.verify()


def test_all_changes_are_counted_and_some_named(store) -> None:
    blocks = len(store.metadata["files"]["camera_0.bin"]["blocks"]["sha256"])
    for number in range(blocks):
        _flip(store.path / "camera_0.bin", number * BLOCK)
    _flip(store.path / "states.npy", 200)
    with pytest.raises(ValueError, match=rf"in {blocks + 1} of .*; …; the store is damaged"):
        store.verify()


def test_the_blocks_of_a_file_are_read_at_once(store, monkeypatch) -> None:
    """By as many threads as there are cores: each waits for another one, which none would do alone."""
    monkeypatch.setattr(verify.os, "sched_getaffinity", lambda _: {0, 1})
    meet, is_whole = threading.Barrier(2, timeout=60), verify._is_whole

    def together(block):
        if block.name == "camera_0.bin" and block.begin < 2 * BLOCK:
            meet.wait()
        return is_whole(block)

    monkeypatch.setattr(verify, "_is_whole", together)
    store.verify()


def test_a_store_without_blocks_is_compared_as_a_whole(store) -> None:
    file = store.path / "metadata.json"
    metadata = json.loads(file.read_text())
    for entry in metadata["files"].values():
        entry.pop("blocks", None)
    file.write_text(json.dumps(metadata))
    old = EpisodeStore.open(store.path)
    assert old.fingerprint == store.fingerprint and old.verify().blocks == len(metadata["files"])
    _flip(store.path / "camera_0.bin", 3 * BLOCK)
    with pytest.raises(ValueError, match="sha256 differs"):
        old.verify()


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ({"bytes": BLOCK, "sha256": ["0"]}, "the metadata has 1 checksums of blocks"),
        ({"bytes": 0, "sha256": ["0"]}, "files: not what stands there"),
        ({"bytes": BLOCK}, "files: not what stands there"),
        (None, "files: not what stands there"),
    ],
)
def test_checksums_that_do_not_cover_the_file_are_told(store, blocks, said) -> None:
    file = store.path / "metadata.json"
    metadata = json.loads(file.read_text())
    metadata["files"]["camera_0.bin"]["blocks"] = blocks
    file.write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=said):
        EpisodeStore.open(store.path).verify()


def test_an_import_that_goes_on_has_the_blocks_of_an_undisturbed_one(stopped, tmp_path) -> None:
    source, out = stopped
    store = import_tree(source, out)
    store.verify()
    import_tree(source, tmp_path / "undisturbed")
    assert contents(out) == contents(tmp_path / "undisturbed")
    assert "blocks" in store.metadata["files"]["camera_0.bin"]
