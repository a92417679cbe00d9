"""Promise: a goal file says what it shows, shows something, and is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from mqe_core.images import encode_png
from mqe_core.policy.goals import read_goal, write_goal

MEANING = {
    "camera": "over_shoulder",
    "resize_rule": "squash-lanczos",
    "domain": "real",
    "capture_pose": [0.3, 0, 0.15, 0, 0, 0, 1],
}
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def by_hand(path: Path, image: np.ndarray = PICTURE, **meaning: object) -> Path:
    path.write_bytes(encode_png(image))
    path.with_suffix(".yaml").write_text(yaml.safe_dump({**MEANING, **meaning}, sort_keys=False), encoding="utf-8")
    return path


@pytest.mark.parametrize(("height", "width", "colour"), [(48, 64, 0), (48, 64, 128), (1, 1, 200)])
def test_an_image_of_nothing_is_no_goal(tmp_path: Path, height: int, width: int, colour: int) -> None:
    nothing = np.full((height, width, 3), colour, np.uint8)
    with pytest.raises(ValueError, match="dark.png shows no goal: one even colour .* is the lens covered"):
        read_goal(by_hand(tmp_path / "dark.png", nothing))
    with pytest.raises(ValueError, match="shows no goal"):
        write_goal(
            tmp_path / "new" / "dark.png",
            nothing,
            camera="over_shoulder",
            domain="real",
            capture_pose=MEANING["capture_pose"],
        )
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("meaning", "reason"),
    [
        (
            {"domain": "real", "task": "place1", "seed": 3},
            "a goal of the domain real has the keys camera, .*; this one has the unknown task, seed$",
        ),
        ({"domain": "sim"}, "a goal of the domain sim has the keys .*; this one misses task, seed$"),
        ({"domain": "sim", "task": "place1", "seed": -1}, "seed: expected a whole number from 0, got -1"),
        ({"domain": "film"}, "domain: expected sim or real, got 'film'"),
        ({"capture_pose": [0.3, 0, float("nan"), 0, 0, 0, 1]}, "capture_pose: expected 7 numbers"),
        ({"camera": ""}, "camera: expected a camera's name"),
    ],
)
def test_what_is_wrong_is_named_alone_and_never_written(
    tmp_path: Path, meaning: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        read_goal(by_hand(tmp_path / "cup.png", **meaning))
    given = {key: value for key, value in {**MEANING, **meaning}.items() if key != "resize_rule"}
    with pytest.raises(ValueError, match=reason):
        write_goal(tmp_path / "new" / "cup.png", PICTURE, **given)
    assert not (tmp_path / "new").exists()


def test_what_is_written_is_read_again_and_nothing_else_lies_beside_it(tmp_path: Path) -> None:
    for seed in (1, 2):
        written = write_goal(
            tmp_path / "new" / "cup.png",
            PICTURE,
            camera="wrist",
            domain="sim",
            capture_pose=np.arange(7.0),
            task="place1",
            seed=seed,
        )
        again = read_goal(written.path)
        assert (again.camera, again.domain, again.capture_pose, again.task, again.seed) == (
            "wrist",
            "sim",
            tuple(range(7)),
            "place1",
            seed,
        )
        np.testing.assert_array_equal(again.image, PICTURE)
        assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["cup.png", "cup.yaml"]


def test_a_write_that_fails_half_way_leaves_no_goal_of_two_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = by_hand(tmp_path / "cup.png")
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target == path:
            raise OSError("no space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_goal(path, 255 - PICTURE, camera="wrist", domain="real", capture_pose=np.arange(7.0))
    assert [file.name for file in tmp_path.iterdir()] == ["cup.yaml"]
