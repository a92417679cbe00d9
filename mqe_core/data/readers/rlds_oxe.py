"""Open X-Embodiment's older `bridge` 0.1.0: RLDS whose action is split into parts, and which has one camera.

    steps/action/{world_vector (T, 3), rotation_delta (T, 3), open_gripper (T,)}
    steps/observation/{image (T encoded), state (T, 7), natural_language_instruction (T strings)}

`terminate_episode`, rewards and embeddings are not read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_PARTS = {"steps/action/world_vector": 3, "steps/action/rotation_delta": 3, "steps/action/open_gripper": 1}
_NAMES = {
    "steps/observation/image": "steps/observation/image_0",
    "steps/observation/natural_language_instruction": "steps/language_instruction",
}


def is_oxe(features: dict[str, list[Any]]) -> bool:
    """Whether a record's keys are of this form."""
    return "steps/action" not in features and bool(_PARTS.keys() & features.keys())


def as_flat(features: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The same record under the keys of `bridge_dataset` 1.0.0. ValueError where a part of the action does not fit."""
    steps = len(features.get("steps/observation/state", ())) // 7
    columns = []
    for key, width in _PARTS.items():
        values = features.get(key, [])
        if not steps or len(values) != steps * width:
            raise ValueError(f"{key} holds {len(values)} values; expected {width} for each of {steps} states")
        columns.append(np.array(values, dtype=np.float64).reshape(steps, width))
    renamed = {_NAMES.get(key, key): values for key, values in features.items() if key not in _PARTS}
    return renamed | {"steps/action": np.concatenate(columns, axis=1).ravel().tolist()}
