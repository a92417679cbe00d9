"""Promise: no command of `mqe` writes over what another one made. All of their options that name an output are here."""

from __future__ import annotations

import argparse
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mqe_core.cli import build_parser, main
from mqe_core.images import encode_png

# Of each command that writes: its arguments, OUT being the target. A store stands where it is to write.
FOLDERS = {
    "train": "train --data STORE --out OUT --steps 1",
    "eval": "eval --policy POLICY --episodes 1 --out OUT --force",
    "data import": "data import RAW --out OUT",
    "data merge": "data merge STORE --out OUT",
    "data export": "data export STORE --to bridge-raw OUT",
    "sim collect": "sim collect --episodes 1 --out OUT",
    "ogbench generate": "ogbench generate pointmaze-medium-stitch-v0 --episodes 1 --out OUT",
    "run": "run --backend mock --policy POLICY --episodes STORE --seconds 1 --out OUT",
    "serve": "serve --make-keys --keys OUT",
}
FILES = {
    "export": "export RUN --out OUT.onnx",
    "data view": "data view STORE --out OUT.html",
    "plot": "plot RUN --out OUT.png",
    "report": "report RUN --out OUT.html",
    "sim goal": "sim goal --seed 1 --out OUT.png",
    "goal capture": "goal capture cup --backend mock --camera STORE --yes --force --out OUT",  # OUT/cup.png
    "goal add": "goal add PHOTO --name cup --force --out OUT",  # likewise
}


def targets(parser: argparse.ArgumentParser, name: str = "") -> Iterator[str]:
    """The commands that have an argument which names an output."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, sub in action.choices.items():
                yield from targets(sub, f"{name} {command}".strip())
        elif {"--out", "--make-keys"} & set(action.option_strings) or action.dest == "out":
            yield name


def fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path.relative_to(folder)).encode() + (path.read_bytes() if path.is_file() else b""))
    return digest.hexdigest()


@pytest.fixture
def places(
    tmp_path: Path, synthetic_store: Path, make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """What the words in capitals stand for; STORE is of this test alone."""
    monkeypatch.setenv("MQE_HOME", str(tmp_path / "home"))
    store = tmp_path / "store"
    shutil.copytree(synthetic_store, store, ignore=shutil.ignore_patterns("features"))
    (tmp_path / "raw").mkdir()
    (tmp_path / "photo.png").write_bytes(encode_png(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)))
    return {
        "PHOTO": str(tmp_path / "photo.png"),
        "STORE": str(store),
        "POLICY": str(make_bundle()),
        "RAW": str(tmp_path / "raw"),
        "RUN": str(tmp_path),
    }


def words(command: str, places: dict[str, str], out: Path) -> list[str]:
    text = command.replace("OUT", str(out))
    return [places.get(word, word) for word in text.split()]


def test_every_command_that_writes_is_tried_here() -> None:
    assert set(targets(build_parser())) == FOLDERS.keys() | FILES.keys()


@pytest.mark.parametrize("command", FOLDERS)
def test_a_command_leaves_a_folder_alone_that_another_made(
    command: str, places: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    store, run, photos = Path(places["STORE"]), tmp_path / "a_run", tmp_path / "photos"
    run.mkdir()
    (run / "config.yaml").write_text("agent: mqe\n")
    (run / "metadata.json").write_text('{"agent": "mqe", "action_low": []}')
    (run / "data").symlink_to(store)
    photos.mkdir()
    (photos / "a.png").write_bytes(b"precious")
    link = tmp_path / "link"
    link.symlink_to(store)
    before = fingerprint(tmp_path)
    for there in (
        store,
        link,
        store / "inside",
        link / "in" / "side",
        photos,
        photos / "a.png",
        photos / "a.png" / "x",
    ):
        assert main(words(FOLDERS[command], places, there)) == 1, there
        message = capsys.readouterr().err.splitlines()[-1]
        assert message.startswith(f"mqe {command.split()[0]}: {there}"), message
    if command != "train":
        assert main(words(FOLDERS[command], places, run)) == 1
        assert "already holds something, a run folder of mqe train, and is no" in capsys.readouterr().err
    assert fingerprint(tmp_path) == before


@pytest.mark.parametrize("command", FILES)
def test_a_command_leaves_a_file_alone_that_another_made(
    command: str, places: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    outs = {"taken": tmp_path, "store": Path(places["STORE"])}
    for name in ("taken.onnx", "taken.png", "taken.html", "cup.png", "cup.yaml"):
        (tmp_path / name).write_bytes(b"precious")
    before = fingerprint(tmp_path)
    for name, out in outs.items():
        target = out if command.startswith("goal ") else out / ("taken" if name == "taken" else "inside")
        assert main(words(FILES[command], places, target)) == 1
        message = capsys.readouterr().err.splitlines()[-1]
        assert "it is left alone" in message or "lies inside" in message, message
    assert fingerprint(tmp_path) == before
