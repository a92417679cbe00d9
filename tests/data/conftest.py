"""Makers of small data sets in the published formats, written without the code under test."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image


def _picture(seed: int, height: int = 12, width: int = 16) -> np.ndarray:
    """(height, width, 3) uint8: coarse coloured blocks, different for each seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(blocks).resize((width, height), Image.Resampling.BILINEAR))


# Of each column, middle and half width of what an arm of this size does.
STATES = np.array([[0.3, 0.0, 0.1, 0.0, 0.0, 0.0, 0.5], [0.1, 0.15, 0.05, 0.3, 0.3, 1.0, 0.5]])
ACTIONS = np.array([[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5], [0.03, 0.03, 0.03, 0.1, 0.1, 0.2, 0.5]])


def _physical(rng: np.random.Generator, rows: int, middle_and_half: np.ndarray) -> np.ndarray:
    """(rows, 7)."""
    return middle_and_half[0] + rng.uniform(-1, 1, (rows, 7)) * middle_and_half[1]


def _make_trajectory(
    folder: Path,
    num_frames: int = 5,
    *,
    seed: int = 0,
    cameras: tuple[int, ...] = (0,),
    size: tuple[int, int] = (12, 16),
    as_dicts: bool = True,
    state_key: str = "full_state",
    language: str | None = None,
) -> SimpleNamespace:
    """Write a raw `traj<i>` folder; returns its states (T, 7), actions (T-1, 7), images {camera: T JPEGs}."""
    rng = np.random.default_rng(seed)
    states = _physical(rng, num_frames, STATES)
    actions = _physical(rng, num_frames - 1, ACTIONS)
    folder.mkdir(parents=True)
    frames: dict[int, list[bytes]] = {}
    for camera in cameras:
        (folder / f"images{camera}").mkdir()
        for t in range(num_frames):
            file = folder / f"images{camera}" / f"im_{t}.jpg"
            Image.fromarray(_picture(1000 * seed + 100 * camera + t, *size)).save(file, quality=95)
            frames.setdefault(camera, []).append(file.read_bytes())
    observations = {
        state_key: states,
        "time_stamp": [0.2 * t for t in range(num_frames)],
        "env_done": [False] * num_frames,
    }
    (folder / "obs_dict.pkl").write_bytes(pickle.dumps(observations))
    outputs = [
        {"actions": action, "new_robot_transform": np.eye(4), "policy_type": "VRTeleopPolicy"} for action in actions
    ]
    (folder / "policy_out.pkl").write_bytes(pickle.dumps(outputs if as_dicts else list(actions)))
    if language is not None:
        (folder / "lang.txt").write_text(language)
    return SimpleNamespace(states=states, actions=actions, images=frames, folder=folder)


@pytest.fixture
def make_trajectory() -> Callable[..., SimpleNamespace]:
    """`_make_trajectory`: writes one trajectory of a raw BridgeData tree."""
    return _make_trajectory


@pytest.fixture
def picture() -> Callable[..., np.ndarray]:
    """`_picture`: a small image that depends on its seed."""
    return _picture


def _crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), bit by bit over a table made here."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    crc = _crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) & 0xFFFFFFFF) + 0xA282EAD8 & 0xFFFFFFFF)


def _frame_record(data: bytes) -> bytes:
    """One TFRecord record around `data`."""
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        encoded.append(low | (0x80 if value else 0))
        if not value:
            return bytes(encoded)


def _field(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload


def _encode_example(features: dict[str, list]) -> bytes:
    """tf.train.Example in protocol buffer wire format, keys in the order of the dict."""
    entries = b""
    for key, values in features.items():
        if not values or isinstance(values[0], bytes):
            feature = _field(1, b"".join(_field(1, value) for value in values))
        elif isinstance(values[0], float):
            feature = _field(2, _field(1, struct.pack(f"<{len(values)}f", *values)))
        else:
            feature = _field(3, _field(1, b"".join(_varint(value) for value in values)))
        entries += _field(1, _field(1, key.encode()) + _field(2, feature))
    return _field(1, entries)


def _jpeg(image: np.ndarray) -> bytes:
    import io

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()


def _rlds_features(
    num_steps: int = 4, *, seed: int = 0, cameras: tuple[int, ...] = (0, 1), filler: tuple[int, ...] = (3,)
) -> dict:
    """The features of one episode as the published BridgeData files name them; 16-pixel images."""
    rng = np.random.default_rng(seed)
    features: dict[str, list] = {
        "steps/action": _physical(rng, num_steps, ACTIONS).astype(np.float32).ravel().tolist(),
        "steps/observation/state": _physical(rng, num_steps, STATES).astype(np.float32).ravel().tolist(),
        "steps/language_instruction": [b"put the cup in the sink"] * num_steps,
        "steps/is_first": [1] + [0] * (num_steps - 1),
        "steps/is_last": [0] * num_steps,
        "episode_metadata/file_path": [b"/somewhere/out.npy"],
    }
    for camera in cameras:
        features[f"steps/observation/image_{camera}"] = [
            _jpeg(_picture(1000 * seed + 100 * camera + t, 16, 16)) for t in range(num_steps)
        ]
    for camera in filler:
        features[f"steps/observation/image_{camera}"] = [_jpeg(np.zeros((16, 16, 3), np.uint8))] * num_steps
    for camera in range(4):
        features[f"episode_metadata/has_image_{camera}"] = [0]
    return features


@pytest.fixture
def tfrecord_maker() -> SimpleNamespace:
    """Writers for TFRecord shards: `features(...)`, `example(features)`, `record(data)`, `jpeg(image)`."""
    return SimpleNamespace(
        features=_rlds_features, example=_encode_example, record=_frame_record, jpeg=_jpeg, masked=_masked
    )


@pytest.fixture
def shard(tmp_path, tfrecord_maker):
    """A shard of 5 episodes with 4 steps each: (file, start byte of each record, features of each)."""
    from tests.data.written_shards import SHARD, write_shard  # on the path since this module was loaded

    features = [tfrecord_maker.features(4, seed=i) for i in range(5)]
    file = tmp_path / "src" / SHARD
    starts = write_shard(file, [tfrecord_maker.record(tfrecord_maker.example(f)) for f in features])
    return file, starts, features
