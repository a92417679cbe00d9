"""Promise: a goal is made of any picture, cut and shrunk to what the camera sees, and the command says how."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mqe_core.cli import main
from mqe_core.policy.goal_pictures import as_the_camera_sees
from mqe_core.policy.goals import check_camera, read_goal
from mqe_core.robot.spec import RobotSpec


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MQE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def photo(path: Path, width: int, height: int, **options: object) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((width, height)).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("size", "made", "said"),
    [
        ((1280, 960), (480, 640), "1280x960, made smaller to 640x480, as the camera over_shoulder sees"),
        ((640, 480), (480, 640), "640x480, kept as it is"),
        ((320, 240), (240, 320), "320x240, kept as it is"),
        ((1280, 720), (480, 640), "320 pixels cut off, half of them each at left and right, to 960x720, made smaller"),
        ((480, 640), (360, 480), "280 pixels cut off, half of them each at top and bottom, to 480x360"),
        ((600, 600), (450, 600), "150 pixels cut off, half of them each at top and bottom, to 600x450"),
    ],
)
def test_a_picture_of_any_size_becomes_a_goal(tmp_path, home, spec: RobotSpec, capsys, size, made, said) -> None:
    assert main(["goal", "add", str(photo(tmp_path / "photo.jpg", *size)), "--name", "cup"]) == 0
    assert said in capsys.readouterr().out
    goal = read_goal(home / "goals/cup.png")
    assert goal.image.shape == (*made, 3) and goal.domain == "real"
    check_camera(goal, spec.camera.name)
    assert goal.capture_pose == (0.3, 0.0, 0.15, 0.0, 0.0, 0.0, 1.0)


def test_the_middle_is_kept(spec: RobotSpec) -> None:
    picture = np.zeros((48, 96, 3), np.uint8)
    picture[:, 16:80] = np.arange(64)[None, :, None]
    assert np.array_equal(as_the_camera_sees(picture, spec.camera)[0], picture[:, 16:80])


def test_a_photo_is_turned_as_its_exif_says(tmp_path, home) -> None:
    exif = Image.Exif()
    exif[274] = 6
    assert main(["goal", "add", str(photo(tmp_path / "photo.jpg", 480, 640, exif=exif)), "--name", "cup"]) == 0
    assert read_goal(home / "goals/cup.png").image.shape == (480, 640, 3)


def test_a_picture_alone_names_the_command_that_makes_it_a_goal(tmp_path, home) -> None:
    picture = photo(tmp_path / "my cup.png", 640, 480)
    with pytest.raises(FileNotFoundError, match=rf"mqe goal add {picture} --name my_cup makes both"):
        read_goal(picture)


def test_nothing_is_replaced_or_hidden_unasked(tmp_path, home, capsys) -> None:
    call = ["goal", "add", str(photo(tmp_path / "photo.png", 640, 480)), "--name"]
    assert main([*call, "cup"]) == 0 and main([*call, "cup"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main([*call, "cup", "--force"]) == 0
    assert main([*call, "../cup"]) == 1
    capsys.readouterr()
    assert main([*call, "drawer_place"]) == 1
    assert "a goal that comes with this project" in capsys.readouterr().err


def test_a_goal_of_the_sim_needs_its_scene(tmp_path, home, capsys) -> None:
    call = ["goal", "add", str(photo(tmp_path / "photo.png", 640, 480)), "--name", "cup"]
    for wrong in (["--domain", "sim"], ["--domain", "sim", "--task", "reach"], ["--task", "reach", "--seed", "3"]):
        assert main([*call, *wrong]) == 1
        assert "--task and --seed go with --domain sim" in capsys.readouterr().err
    assert main([*call, "--domain", "sim", "--task", "reach", "--seed", "3"]) == 0
    assert read_goal(home / "goals/cup.png").seed == 3


@pytest.mark.parametrize("content", [b"", b"no picture", b"GIF89a" + b"\0" * 20])
def test_what_is_no_picture_makes_no_goal(tmp_path, home, capsys, content) -> None:
    (tmp_path / "photo.jpg").write_bytes(content)
    assert main(["goal", "add", str(tmp_path / "photo.jpg"), "--name", "cup"]) == 1
    assert "photo.jpg: not a readable JPEG or PNG image" in capsys.readouterr().err
    assert not (home / "goals").exists()


def test_another_camera_is_written_down(tmp_path, home, spec: RobotSpec) -> None:
    call = ["goal", "add", str(photo(tmp_path / "photo.png", 640, 480)), "--name", "cup", "--camera", "phone"]
    assert main(call) == 0
    with pytest.raises(ValueError, match="taken by the camera 'phone'"):
        check_camera(read_goal(home / "goals/cup.png"), spec.camera.name)


def test_what_is_wrong_names_the_picture_that_was_given(tmp_path, home, capsys) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "black.png")
    assert main(["goal", "add", str(tmp_path / "black.png"), "--name", "cup"]) == 1
    assert f"{tmp_path}/black.png shows no goal" in capsys.readouterr().err
    assert main(["goal", "add", str(tmp_path / "none.png"), "--name", "cup"]) == 1
    assert f"{tmp_path}/none.png: there is no such picture" in capsys.readouterr().err
    assert main(["goal", "add", str(photo(tmp_path / "a.png", 64, 48)), "--name", "cup", "--camera", ""]) == 1
    assert "camera: expected a camera's name" in capsys.readouterr().err
    assert not (home / "goals").exists() or not list((home / "goals").iterdir())
