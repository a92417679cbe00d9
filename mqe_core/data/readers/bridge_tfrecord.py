"""bridge_data_v2's TFRecord form: one trajectory per Example, every feature one serialized tensor.

    observations/state, next_observations/state      (L, 7) float32
    observations/images0, next_observations/images0  (L, H, W, 3) uint8; the converter keeps camera 0 only
    actions                                          (L, 7) float32
    language                                         strings, optional

Source: bridge_data_v2, `data_processing/bridgedata_numpy_to_tfrecord.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from mqe_core.data.episode import Episode
from mqe_core.data.readers.tensor_proto import parse_tensor
from mqe_core.data.readers.transitions import from_transitions
from mqe_core.data.source import no_camera
from mqe_core.robot.arrays import AnyArray

_NOW, _NEXT = "observations/", "next_observations/"
_CAMERA = re.compile(r"observations/images(\d+)")


def is_bridge_tfrecord(features: dict[str, list[Any]]) -> bool:
    """Whether a record's keys are of this form."""
    return {"actions", _NOW + "state"} <= features.keys()


def parse_bridge_tfrecord(features: dict[str, list[Any]], name: str, cameras: Sequence[str], split: str) -> Episode:
    """The record as an Episode; `cameras` are keys below `observations/`, in place of `images<c>`. ValueError where a
    key is missing, is no tensor, or does not fit the others.
    """
    tensors = {key: _tensor(features, key) for key in (_NOW + "state", _NEXT + "state", "actions")}
    keys = {int(match[1]): key for key in features if (match := _CAMERA.fullmatch(key))}
    if cameras:
        keys = {camera: _NOW + asked.removeprefix(_NOW) for camera, asked in enumerate(cameras)}
    others = sorted(k.removeprefix(_NOW) for k in features if k.startswith(_NOW) and k != _NOW + "state")
    if missing := [key.removeprefix(_NOW) for key in keys.values() if key not in features]:
        raise ValueError(f"no images under --camera {', '.join(missing)}; keys with images: {', '.join(others)}")
    unused = tuple(other for other in others if _NOW + other not in keys.values() and "image" in other)
    if unused and not keys:
        raise ValueError(no_camera(unused, "images<c>"))
    frames = {}
    for camera, key in sorted(keys.items()):
        now, after = _tensor(features, key), _tensor(features, "next_" + key)
        if now.ndim != 4 or now.shape != after.shape:
            raise ValueError(f"{key} of shape {now.shape}, next of {after.shape}: expected (L, H, W, 3) twice")
        frames[camera] = [*now, after[-1]]
    texts = [text.decode("utf-8", errors="replace") for text in _strings(features)]
    return from_transitions(
        name,
        tensors[_NOW + "state"],
        tensors[_NEXT + "state"],
        tensors["actions"],
        frames,
        texts,
        unused_cameras=unused,
        split=split,
    )


def _tensor(features: dict[str, list[Any]], key: str) -> AnyArray:
    if key not in features:
        raise ValueError(f"no key {key}; the record has {', '.join(sorted(features))}")
    values = features[key]
    if len(values) != 1 or not isinstance(values[0], bytes):
        raise ValueError(f"{key} is no serialized tensor")
    tensor = parse_tensor(values[0], key)
    if tensor.dtype == object:
        raise ValueError(f"{key} holds strings, expected numbers")
    return tensor


def _strings(features: dict[str, list[Any]]) -> list[bytes]:
    if not features.get("language"):
        return []
    texts: AnyArray = np.ravel(parse_tensor(features["language"][0], "language"))
    return [text for text in texts.tolist() if isinstance(text, bytes)]
