"""Promise: no name that a browser sends leads to a file outside of the goals' and the recordings' folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mqe_core.console.file_routes import FileRoutes
from mqe_core.console.goals_folder import GoalsFolder, Meaning
from mqe_core.console.recordings import Recordings
from mqe_core.images import encode_jpeg, encode_png
from mqe_core.policy.goals import write_goal
from mqe_core.robot.spec import RobotSpec
from tests.console.asgi_client import ask
from tests.data.written_bag import picture

NAMES = {
    "up": "../secret",
    "far up": "../../../../../../etc/passwd",
    "absolute": "/etc/passwd",
    "itself": ".",
    "parent": "..",
    "nothing": "",
    "NUL": "secret\0",
    "NUL before the ending": "../secret.png\0",
    "Windows path": "..\\secret",
    "Windows drive": "C:\\secret",
    "Windows share": "\\\\server\\secret",
    "Windows device": "NUL:",
    "stream": "place::$DATA",
    "look-alike dots": "\u2025/secret",
    "look-alike slash": "..\u2215secret",
    "fullwidth": "\uff0e\uff0e\uff0fsecret",
    "Cyrillic": "pl\u0430ce",
    "right to left": "\u202egnp.ecalp",
    "escaped": "%2e%2e%2fsecret",
    "surrogate": "\udcff",
    "home": "~/secret",
    "newline": "a\nb",
    "one megabyte": "a" * 2**20,
    "one megabyte up": "../" * 2**18,
    "link": "link",
    "folder link": "linked/secret",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Goals and recordings in one folder, beside a goal and a drive that nobody may see."""
    outside = tmp_path / "outside"
    for place in (tmp_path, outside):
        write_goal(place / "secret.png", picture(0), camera="c", domain="real", capture_pose=[0.0] * 7)
    (outside / "secret" / "frames").mkdir(parents=True)
    (outside / "secret" / "steps.csv").write_text("step\n")
    (outside / "secret" / "frames" / "000000.jpg").write_bytes(encode_jpeg(picture(1)))
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.png").symlink_to(outside / "secret.png")
    (inside / "link.yaml").symlink_to(outside / "secret.yaml")
    (inside / "link").symlink_to(outside / "secret")
    (inside / "linked").symlink_to(outside)
    return inside


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_nothing_outside_is_read(folder: Path, name: str) -> None:
    goals, recordings = GoalsFolder(folder), Recordings(folder)
    asks = (goals.path_of, goals.read, goals.thumbnail, recordings.contents)
    for ask_for in (*asks, lambda n: recordings.jpeg(n, 0, 0), lambda n: recordings.thumbnail(n, 0)):
        with pytest.raises(ValueError) as raised:
            ask_for(name)
        assert len(str(raised.value)) < 600


@pytest.mark.parametrize("name", sorted(set(NAMES.values()) - {"link"}), ids=lambda name: repr(name[:20]))
def test_nothing_is_written_under_such_a_name(folder: Path, tmp_path: Path, spec: RobotSpec, name: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="a goal's name is made of letters"):
        GoalsFolder(folder).add(name, encode_png(picture(2)), Meaning(spec.camera, "real"))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_is_not_written_through(folder: Path, tmp_path: Path, spec: RobotSpec) -> None:
    (folder / "new.yaml").symlink_to(tmp_path / "outside" / "made.yaml")
    secret = (tmp_path / "outside" / "secret.png").read_bytes()
    for name in ("link", "new"):
        with pytest.raises(ValueError):
            GoalsFolder(folder).add(name, encode_png(picture(2)), Meaning(spec.camera, "real"))
    assert (tmp_path / "outside" / "secret.png").read_bytes() == secret
    assert not (tmp_path / "outside" / "made.yaml").exists()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_no_address_shows_it(folder: Path, name: str) -> None:
    routes = FileRoutes(GoalsFolder(folder), Recordings(folder))
    for path in (
        f"/goals/{name}",
        f"/goals/{name}/thumbnail",
        f"/recordings/{name}/0/0",
        f"/recordings/{name}/0/thumbnail",
    ):
        made = {"type": "http", "method": "GET", "path": path}
        answer = ask(routes, made=made)
        assert answer.status == 404 and answer.header("content-type").startswith("text/plain")


def test_a_frame_that_is_a_link_is_not_shown(tmp_path: Path) -> None:
    frames = tmp_path / "runs" / "drive" / "frames"
    frames.mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(encode_jpeg(picture(1)))
    (frames.parent / "steps.csv").write_text("step\n")
    (frames / "000000.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(ValueError, match="a link that leads out of"):
        Recordings(tmp_path / "runs").jpeg("drive", 0, 0)


def test_what_lies_inside_is_shown(tmp_path: Path) -> None:
    write_goal(tmp_path / "place.png", picture(0), camera="c", domain="real", capture_pose=[0.0] * 7)
    answer = ask(FileRoutes(GoalsFolder(tmp_path), Recordings(tmp_path)), made={
        "type": "http", "method": "GET", "path": "/files/goals/place", "root_path": "/files"
    })  # fmt: skip
    assert answer.status == 200 and answer.header("content-type") == "image/jpeg"
    assert np.asarray(answer.body[:3]).tobytes() == b"\xff\xd8\xff"
