"""Promise: a goal file says what it shows, shows something, and is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from mqe_core.goals import read_goal, write_goal
from mqe_core.images import encode_png

MEANING = {"camera": "over_shoulder", "resize_rule": "squash-lanczos", "domain": "real", "capture_pose": [0.3, 0, 0.15, 0, 0, 0, 1]}
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def by_hand(path: Path, image: np.ndarray = PICTURE, **meaning: object) -> Path:
    path.write_bytes(encode_png(image))
    path.with_suffix(".yaml").write_text(yaml.safe_dump({**MEANING, **meaning}), encoding="utf-8")
    return path


@pytest.mark.parametrize(("height", "width", "colour"), [(48, 64, 0), (48, 64, 128), (1, 1, 200)])
def test_an_image_of_nothing_is_no_goal(tmp_path: Path, height: int, width: int, colour: int) -> None:
    nothing = np.full((height, width, 3), colour, np.uint8)
    with pytest.raises(ValueError, match="dark.png shows no goal: one even colour .* is the lens covered"):
        read_goal(by_hand(tmp_path / "dark.png", nothing))
    with pytest.raises(ValueError, match="shows no goal"):
        write_goal(tmp_path / "new" / "dark.png", nothing, camera="over_shoulder", domain="real", capture_pose=MEANING["capture_pose"])
    assert not (tmp_path / "new").exists()
