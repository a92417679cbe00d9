"""No damaged store opens; the file and the remedy are named."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.layout import compute_fingerprint
from tests.data.made_episodes import made_episode, write_store


def _files(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


def test_a_missing_truncated_or_grown_file_is_named_with_the_remedy(tmp_path):
    for name in _files(write_store(tmp_path / "model", [made_episode(0, cameras=(0, 1))]).path):
        for damage in ("missing", "truncated", "grown"):
            path = tmp_path / f"{name}-{damage}"
            write_store(path, [made_episode(0, cameras=(0, 1))])
            file = path / name
            contents = file.read_bytes()
            file.unlink()
            if damage != "missing":
                file.write_bytes(contents[:-1] if damage == "truncated" else contents + b"\0")
            with pytest.raises(ValueError, match=rf"{name}.*(import its source again|make one with)"):
                EpisodeStore.open(path)


def _tamper(path: Path, name: str, contents: bytes) -> None:
    """Replace a file and make size, checksum and fingerprint fit: only the checks of the arrays are left."""
    (path / name).write_bytes(contents)
    metadata = json.loads((path / "metadata.json").read_text())
    metadata["files"][name] = {"bytes": len(contents), "sha256": hashlib.sha256(contents).hexdigest()}
    metadata["fingerprint"] = compute_fingerprint(metadata)
    (path / "metadata.json").write_text(json.dumps(metadata))


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("states.npy", lambda a: a[:-1]),
        ("states.npy", lambda a: a.astype(np.float64)),
        ("actions.npy", lambda a: np.concatenate([a, a])),
        ("actions.npy", lambda a: np.nan_to_num(a)),
        ("actions.npy", lambda a: np.full_like(a, np.nan)),
        ("episode_ends.npy", lambda a: a + 1),
        ("episode_ends.npy", lambda a: a[::-1].copy()),
        ("episode_ends.npy", lambda a: np.array([1, 5, 12])),
        ("camera_0_offsets.npy", lambda a: a + 1),
        ("camera_0_offsets.npy", lambda a: np.sort(np.concatenate([a[:3], a[4:], a[-1:]]))[::-1].copy()),
        ("camera_0_offsets.npy", lambda a: np.where(np.arange(len(a)) == 3, a[2], a)),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(tmp_path, name, change):
    write_store(tmp_path / "store", [made_episode(0), made_episode(1, 3), made_episode(2, 4)])
    _tamper(tmp_path / "store", name, _npy(change(np.load(tmp_path / "store" / name))))
    with pytest.raises(ValueError, match=rf"{name}.*import its source again"):
        EpisodeStore.open(tmp_path / "store")


def test_a_pickle_instead_of_an_array_is_refused(tmp_path):
    write_store(tmp_path / "store", [made_episode(0)])
    _tamper(tmp_path / "store", "states.npy", _npy(np.array([{"a": 1}], dtype=object)))
    with pytest.raises(ValueError, match="states.npy"):
        EpisodeStore.open(tmp_path / "store")


def test_metadata_of_another_schema_or_edited_by_hand_is_refused(tmp_path):
    write_store(tmp_path / "store", [made_episode(0)])
    file = tmp_path / "store" / "metadata.json"
    metadata = json.loads(file.read_text())
    file.write_text(json.dumps({**metadata, "schema": 0}))
    with pytest.raises(ValueError, match="schema 0, this version reads 1 to 3; import the source again"):
        EpisodeStore.open(tmp_path / "store")
    file.write_text(json.dumps({**metadata, "image_size": 17}))
    with pytest.raises(ValueError, match="fingerprint does not fit"):
        EpisodeStore.open(tmp_path / "store")
    del metadata["domain"]
    file.write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="keys missing: domain"):
        EpisodeStore.open(tmp_path / "store")


def test_what_is_no_store_does_not_open(tmp_path):
    with pytest.raises(ValueError, match="is no folder; expected an EpisodeStore"):
        EpisodeStore.open(tmp_path / "nothing")
    with pytest.raises(ValueError, match="is no EpisodeStore"):
        EpisodeStore.open(tmp_path)


def test_an_altered_image_byte_is_found(tmp_path):
    store = write_store(tmp_path / "store", [made_episode(0)])
    file = tmp_path / "store" / "camera_0.bin"
    contents = bytearray(file.read_bytes())
    contents[: len(contents) // 2] = bytes(len(contents) // 2)
    file.write_bytes(contents)
    with pytest.raises(ValueError, match=r"camera_0.bin.*sha256 differs"):
        store.verify()
    with pytest.raises(ValueError, match=r"camera_0.bin: frame 0: not a readable.*import its source again"):
        EpisodeStore.open(tmp_path / "store").images([0])
