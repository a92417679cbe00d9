"""Promise: a picture that somebody sends becomes a goal by the same checks as every other, or is refused in words."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mqe_core import images
from mqe_core.console.goals_folder import GoalName, GoalsFolder, Meaning
from mqe_core.policy.goals import read_goal, write_goal
from mqe_core.robot.spec import RobotSpec


def picture(height: int = 480, width: int = 640) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def goals(tmp_path: Path) -> GoalsFolder:
    shipped = tmp_path / "shipped"
    write_goal(
        shipped / "drawer.png", picture(60, 80), camera="c", domain="sim", capture_pose=[0.0] * 7, task="t", seed=1
    )
    return GoalsFolder(tmp_path / "home" / "goals", [shipped])


@pytest.fixture
def real(spec: RobotSpec) -> Meaning:
    return Meaning(spec.camera, "real")


def test_a_picture_becomes_a_goal_that_the_policy_reads(goals: GoalsFolder, real: Meaning, spec: RobotSpec) -> None:
    wide = np.repeat(np.repeat(picture(120, 200), 8, 0), 8, 1)  # 960x1600
    goal, how = goals.add("cup", images.encode_png(wide), real)
    assert "cut off" in how and "made smaller to 640x480" in how
    again = read_goal(goals.path_of("cup"))
    assert np.array_equal(again.image, goal.image) and again.image.shape == (480, 640, 3)
    assert (again.camera, again.domain, again.task) == (spec.camera.name, "real", None)
    assert goals.names() == [GoalName("cup", True), GoalName("drawer", False)]


def test_a_goal_of_the_sim_belongs_to_its_scene(goals: GoalsFolder, spec: RobotSpec) -> None:
    goals.add_image("seen", picture(), Meaning(spec.camera, "sim", task="place1", seed=7))
    assert (goals.read("seen").task, goals.read("seen").seed) == ("place1", 7)
    for meaning in (Meaning(spec.camera, "sim"), Meaning(spec.camera, "real", task="place1", seed=7)):
        with pytest.raises(ValueError, match="belongs to a scene"):
            goals.add_image("other", picture(), meaning)


def jpeg_of(mode: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture()).convert(mode).save(buffer, "JPEG")
    return buffer.getvalue()


def gif() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "GIF")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a readable JPEG or PNG image"),
        (b"<html>no picture</html>", "not a readable JPEG or PNG image"),
        (b"%PDF-1.7 " + bytes(1000), "not a readable JPEG or PNG image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a readable JPEG or PNG image"),
        (images.encode_png(picture())[:5000], "not a readable JPEG or PNG image"),
        (gif(), "it begins as GIF does; save it as PNG"),
        (jpeg_of("CMYK"), "an image of mode CMYK"),
        (images.encode_png(np.zeros((2001, 2000, 3), np.uint8)), "at most 4000000 are taken: make it smaller"),
        (images.encode_png(np.zeros((1, 10001, 3), np.uint8)), "at most 10000 on a side"),
        (images.encode_png(np.full((480, 640, 3), 90, np.uint8)), "the picture shows no goal: one even colour"),
        (bytes(images.FRAME_BYTES + 1), "at most 16 MB are taken"),
    ],
    ids=["empty", "html", "pdf", "svg", "cut off", "gif", "print", "large", "long", "even", "heavy"],
)
def test_what_is_no_goal_is_refused_in_words(goals: GoalsFolder, real: Meaning, data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        goals.add("cup", data, real)
    assert goals.names() == [GoalName("drawer", False)]


def test_a_name_is_given_once(goals: GoalsFolder, real: Meaning) -> None:
    goals.add_image("cup", picture(), real)
    for name in ("cup", "drawer"):
        with pytest.raises(ValueError, match=f"there is a goal {name} already"):
            goals.add_image(name, picture(), real)


def test_a_thumbnail_is_small_and_follows_its_picture(goals: GoalsFolder, real: Meaning, tmp_path: Path) -> None:
    goals.add_image("cup", picture(), real)
    first = goals.thumbnail("cup")
    assert images.decode(first).shape == (120, 160, 3) and len(first) < 40_000
    assert images.decode(goals.thumbnail("drawer")).shape == (60, 80, 3)
    write_goal(goals.path_of("cup"), picture()[::-1], camera="c", domain="real", capture_pose=[0.0] * 7)
    assert goals.thumbnail("cup") != first


def test_shipped_goals_may_be_installed_as_links(goals: GoalsFolder, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    installed.mkdir()
    for ending in (".png", ".yaml"):
        (installed / f"drawer{ending}").symlink_to(tmp_path / "shipped" / f"drawer{ending}")
    assert GoalsFolder(tmp_path / "none", [installed]).thumbnail("drawer") == goals.thumbnail("drawer")


def test_a_broken_goal_is_listed_and_named_when_it_is_read(goals: GoalsFolder, tmp_path: Path) -> None:
    own = tmp_path / "home" / "goals"
    own.mkdir(parents=True)
    (own / "alone.png").write_bytes(images.encode_png(picture()))
    (own / "broken.png").write_bytes(b"x")
    (own / "broken.yaml").write_text("camera: c\n")
    assert [goal.name for goal in goals.names()] == ["alone", "broken", "drawer"]
    with pytest.raises(FileNotFoundError, match="needs a YAML beside it"):
        goals.thumbnail("alone")
    with pytest.raises(ValueError, match="not a readable"):
        goals.thumbnail("broken")
