"""A trajectory of a raw tree that cannot be used is skipped with its reason, and nothing else is lost."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from mqe_core import images
from tests.data.made_episodes import LFS_POINTER
from tests.data.test_bridge_raw import DATED, _import, _skips


def _replace_pickle(folder, file, value):
    (folder / file).write_bytes(pickle.dumps(value))


DAMAGES = {
    "no observations": (lambda f: (f / "obs_dict.pkl").unlink(), "obs_dict.pkl is missing"),
    "no actions": (lambda f: (f / "policy_out.pkl").unlink(), "policy_out.pkl is missing"),
    "empty pickle": (lambda f: (f / "obs_dict.pkl").write_bytes(b""), "obs_dict.pkl not loaded"),
    "no state": (
        lambda f: _replace_pickle(f, "obs_dict.pkl", {"qpos": 1}),
        "expected full_state or state, got the keys ['qpos']",
    ),
    "a list of states": (lambda f: _replace_pickle(f, "obs_dict.pkl", [1]), "expected a dict, got list"),
    "ragged states": (
        lambda f: _replace_pickle(f, "obs_dict.pkl", {"state": [[1], [1, 2]]}),
        "not a numeric array",
    ),
    "a dict of actions": (
        lambda f: _replace_pickle(f, "policy_out.pkl", {"actions": 1}),
        "expected a list of actions, got dict",
    ),
    "a step without action": (
        lambda f: _replace_pickle(f, "policy_out.pkl", [{"policy_type": "x"}] * 4),
        "no key 'actions'",
    ),
    "too few actions": (
        lambda f: _replace_pickle(f, "policy_out.pkl", [np.zeros(7)] * 3),
        "expected 4 actions of size 7",
    ),
    "actions of size 4": (
        lambda f: _replace_pickle(f, "policy_out.pkl", [np.zeros(4)] * 4),
        "expected 4 actions of size 7",
    ),
    "NaN action": (
        lambda f: _replace_pickle(f, "policy_out.pkl", [np.full(7, np.nan)] * 4),
        "actions hold a value that is not finite",
    ),
    "one image less": (lambda f: (f / "images0/im_4.jpg").unlink(), "images0 holds 4 images for 5 states"),
    "a gap": (
        lambda f: (f / "images0/im_1.jpg").rename(f / "images0/im_9.jpg"),
        "images0/im_1.jpg is missing",
    ),
    "complex states": (
        lambda f: _replace_pickle(f, "obs_dict.pkl", {"full_state": np.ones((5, 7)) * 1j}),
        "obs_dict.pkl full_state: not a numeric array: its values are of the type complex128",
    ),
    "states as texts": (
        lambda f: _replace_pickle(f, "obs_dict.pkl", {"full_state": np.full((5, 7), "1.0")}),
        "obs_dict.pkl full_state: not a numeric array: its values are of the type <U3",
    ),
    "actions as texts": (
        lambda f: _replace_pickle(f, "policy_out.pkl", [["1"] * 7] * 4),
        "policy_out.pkl: not a numeric array: its values are of the type <U1",
    ),
    "two images of one frame": (
        lambda f: (f / "images0/im_01.png").write_bytes((f / "images0/im_1.jpg").read_bytes()),
        "images0 holds two images of one frame, im_01.png and im_1.jpg",
    ),
    "images of another format": (
        lambda f: [p.rename(p.with_suffix(".tif")) for p in (f / "images0").iterdir()],
        "images0 holds 0 images for 5 states, and 5 other files such as im_0.tif; im_<t>.jpg or .png are read",
    ),
    "pointers of Git LFS for images": (
        lambda f: [p.write_bytes(LFS_POINTER) for p in (f / "images0").iterdir()],
        "camera 0, frame 0: not a readable JPEG or PNG image (131 bytes): a pointer of Git LFS",
    ),
    "a pointer of Git LFS for a pickle": (
        lambda f: (f / "obs_dict.pkl").write_bytes(LFS_POINTER),
        "obs_dict.pkl not loaded: invalid load key, 'v'.: a pointer of Git LFS",
    ),
    "no image at all": (lambda f: [p.unlink() for p in (f / "images0").iterdir()], "images0 holds 0 images"),
    "a broken image": (
        lambda f: (f / "images0/im_2.jpg").write_bytes(b"JFIF"),
        "camera 0, frame 2: not a readable",
    ),
    "another size": (
        lambda f: (f / "images0/im_3.jpg").write_bytes(images.encode_jpeg(np.zeros((8, 8, 3), np.uint8))),
        "camera 0, frame 3: image is 8x8 pixels, the episode's first is 16x12",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_trajectory_is_skipped_counted_and_named_and_nothing_else_is_lost(tmp_path, make_trajectory, damage):
    root = tmp_path / "src" / DATED / "raw/traj_group0"
    made = [make_trajectory(root / f"traj{i}", 5, seed=i) for i in range(3)]
    apply, reason = DAMAGES[damage]
    apply(root / "traj1")
    store = _import(tmp_path / "src", tmp_path / "store")
    assert store.names == [f"{DATED}/raw/traj_group0/traj{i}" for i in (0, 2)]
    assert np.array_equal(store.states, np.concatenate([made[0].states, made[2].states]).astype(np.float32))
    skipped = _skips(store)
    assert list(skipped) == [f"{DATED}/raw/traj_group0/traj1"]
    assert reason in skipped[f"{DATED}/raw/traj_group0/traj1"]
