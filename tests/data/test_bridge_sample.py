"""The real BridgeData V2 sample (25 episodes of 10 steps) imports without loss; skipped where absent."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from mqe_core import images
from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.store.episode_store import EpisodeStore

SAMPLE = Path(os.environ.get("MQE_BRIDGE_SAMPLE") or Path(__file__).parents[2] / "../shared/data/bridge_rlds_sample")

pytestmark = pytest.mark.skipif(
    not SAMPLE.is_dir(), reason=f"no BridgeData sample at {SAMPLE}; name its folder in MQE_BRIDGE_SAMPLE"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> EpisodeStore:
    out = tmp_path_factory.mktemp("sample") / "store"
    return import_episodes(open_source(SAMPLE), out, image_size=64, source_name=str(SAMPLE))


def _raw_floats(key: bytes) -> np.ndarray:
    """A float feature over the whole shard, from its bytes: key, tags with lengths, packed floats."""
    (shard,) = sorted(SAMPLE.rglob("*.tfrecord-*"))
    contents = shard.read_bytes()
    values = []
    position = contents.find(key)
    while position >= 0:
        cursor = position + len(key)
        for _ in range(3):  # Feature, FloatList, packed values: one byte of tag, then a varint length
            cursor += 1
            length = shift = 0
            while True:
                byte = contents[cursor]
                length |= (byte & 0x7F) << shift
                cursor, shift = cursor + 1, shift + 7
                if not byte & 0x80:
                    break
        values.append(struct.unpack(f"<{length // 4}f", contents[cursor : cursor + length]))
        position = contents.find(key, cursor + length)
    return np.array(values, dtype=np.float32).reshape(-1, 7)


def test_nothing_is_lost(store):
    assert (store.num_episodes, store.num_frames) == (25, 250)
    assert store.episode_ends.tolist() == list(range(10, 251, 10))
    assert store.metadata["skipped"] == [] and store.metadata["domain"] == "real"


def test_states_and_actions_equal_an_independent_reading(store):
    states, actions = _raw_floats(b"steps/observation/state"), _raw_floats(b"steps/action")
    assert states.shape == actions.shape == (250, 7)
    assert np.array_equal(store.states, states)
    assert np.array_equal(store.actions[store.valid], actions[store.valid])
    assert np.isnan(store.actions[~store.valid]).all()


def test_the_first_action_of_each_episode_is_rest_with_the_gripper_open(store):
    first = store.actions[store.episode_starts]
    # Translation is exactly or nearly 0 (below 1e-9 m), rotation below 1e-6 rad, gripper 1.
    assert np.abs(first[:, :3]).max() < 1e-9 and np.abs(first[:, 3:6]).max() < 1e-6
    assert (first[:, 6] == 1.0).all()


def test_states_lie_in_the_workspace_of_the_robot(store):
    assert (store.states[:, 0] > 0.05).all() and (store.states[:, 0] < 0.55).all()
    assert np.abs(store.states[:, 1]).max() < 0.4
    assert store.states[:, 6].min() > 0.0 and store.states[:, 6].max() < 1.2


def test_the_filler_camera_is_absent_and_the_others_keep_their_bytes(store):
    assert store.cameras == (0, 1, 2)
    assert all(store.has_image(camera).all() for camera in store.cameras)
    pixels = store.images(np.arange(250))
    assert pixels.shape == (250, 64, 64, 3) and pixels.dtype == np.uint8
    assert all(len(np.unique(frame)) > 50 for frame in pixels)  # real photographs
    encoded = (store.path / "camera_0.bin").read_bytes()
    (shard,) = sorted(SAMPLE.rglob("*.tfrecord-*"))
    offsets = np.load(store.path / "camera_0_offsets.npy")
    first = encoded[: offsets[1]]
    assert first[:3] == b"\xff\xd8\xff" and first in shard.read_bytes()
    assert np.array_equal(pixels[0], images.decode(first))


def test_every_episode_has_its_instruction(store):
    assert all(len(lines) == 1 and len(lines[0]) > 5 for lines in store.languages)
    assert store.languages[0] == ["put cup from counter or drying rack into sink"]
