"""Promise: `mqe data view` shows the frames, numbers and words of a store's episodes on a page that fetches nothing."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from mqe_core.cli import main
from mqe_core.data.view import write_view
from mqe_core.images import decode
from tests.data.made_episodes import made_episode, write_store


def figures_of(page: Path) -> dict:
    """What the page's script shows."""
    said = page.read_text(encoding="utf-8")
    (content,) = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', said, re.DOTALL)
    return json.loads(content)


def picture(uri: str) -> np.ndarray:
    head, _, content = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return decode(base64.b64decode(content))


def test_an_episode_is_shown_as_it_is(tmp_path: Path) -> None:
    even = [np.full((16, 16, 3), 40 * t, np.uint8) for t in range(5)]
    made = [made_episode(0, images={0: even, 2: even[::-1]}, split="val", languages=("one", "two")), made_episode(1)]
    store = write_store(tmp_path / "store", made, control_hz=10.0)
    assert write_view(store, tmp_path / "page.html") == [0, 1]
    said = figures_of(tmp_path / "page.html")
    first, second = said["episodes"]
    assert (first["number"], first["name"], first["split"], first["languages"]) == (
        0,
        "episode0",
        "val",
        ["one", "two"],
    )
    assert said["control_hz"] == 10.0 and list(first["cameras"]) == ["0", "2"] and list(second["cameras"]) == ["0"]
    np.testing.assert_allclose(first["states"], store.states[:5], atol=1e-5)
    np.testing.assert_allclose(first["actions"][:4], store.actions[:4], atol=1e-5)
    assert first["actions"][4] is None
    shown = [[int(picture(uri).mean()) for uri in first["cameras"][camera]] for camera in ("0", "2")]
    np.testing.assert_allclose(shown, [[0, 40, 80, 120, 160], [160, 120, 80, 40, 0]], atol=2)
    assert first["charts"].count("<polyline") == 7 + 3  # and the zero line of each chart


def test_twelve_of_many_episodes_are_shown_or_those_asked_for(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_store(tmp_path / "mine", [made_episode(k, 2) for k in range(30)])
    assert main(["data", "view", "mine"]) == 0
    assert capsys.readouterr().out == "mine.html: 12 of 30 episodes; open it in a browser\n"
    numbers = [episode["number"] for episode in figures_of(tmp_path / "mine.html")["episodes"]]
    assert numbers[0] == 0 and numbers[-1] == 29 and len(set(numbers)) == 12
    assert main(["data", "view", "mine", "--episodes", "7,3", "--out", "two.html"]) == 0
    assert [episode["number"] for episode in figures_of(tmp_path / "two.html")["episodes"]] == [7, 3]
    assert main(["data", "view", "mine", "--episodes", "7,3", "--out", "two.html"]) == 0  # its own page is replaced


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--episodes", "30"], "has the episodes 0 to 1, not 30"),
        (["--episodes", "-1"], "has the episodes 0 to 1, not -1"),
        (["--episodes", "0,x"], "--episodes 0,x: expected numbers such as 0,5,7"),
        (["--out", "notes.html"], "notes.html exists and is no web page of mqe"),
        (["--out", "mine/page.html"], "lies inside"),
        (["--out", "mine"], "is a folder"),
    ],
)
def test_what_cannot_be_shown_is_named(words, reason, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.html").write_text("mine")
    write_store(tmp_path / "mine", [made_episode(k, 2) for k in range(2)])
    assert main(["data", "view", "mine", *words]) == 1
    assert reason in capsys.readouterr().err
    assert (tmp_path / "notes.html").read_text() == "mine" and not (tmp_path / "mine.html").exists()


def test_names_and_words_are_no_code(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    store = write_store(tmp_path / "<i>", [made_episode(0, name=evil, languages=(evil,))])
    write_view(store, tmp_path / "page.html")
    said = (tmp_path / "page.html").read_text()
    assert evil not in said and "<i>" not in said
    assert figures_of(tmp_path / "page.html")["episodes"][0]["name"] == evil
    assert not re.findall(r'(?:src|href)="(?!data:image/)[^"]*"|https?://|@import|url\(', said)
