"""Promise: a target is new, empty, or the same command's own; anything else is named and left alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mqe_core.files.kinds import (
    BRIDGE_TREE,
    BUNDLE,
    COLLECTION,
    DEMO,
    DRIVE,
    EVALUATION,
    KEYS,
    LEROBOT,
    PICTURE,
    RECORDING,
    ROS_EVALUATION,
    RUN,
    RUN_BEGUN,
    STORE,
    STORE_BEGUN,
    Kind,
)
from mqe_core.files.outputs import check_file, check_folder, check_goal


def put(folder: Path, **files: str) -> Path:
    """A folder with these files, by name."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


MADE: dict[str, tuple[Kind, dict[str, str]]] = {
    "store": (STORE, {"metadata.json": '{"kind": "mqe-episode-store"}', "states.npy": ""}),
    "begun import": (STORE_BEGUN, {".partial-00aa/metadata.json": "{}", "camera_0.bin": ""}),
    "run": (RUN, {"config.yaml": "agent: mqe", "metadata.json": '{"agent": "mqe", "action_low": []}'}),
    "begun run": (RUN_BEGUN, {"encoder.pt": ""}),
    "collection": (COLLECTION, {"bridge_data_v2/sim_kitchen/place1/00/collection.json": "{}"}),
    "evaluation": (EVALUATION, {"result.json": '{"outcomes": [], "policy": "p.onnx"}'}),
    "evaluation through ROS": (ROS_EVALUATION, {"policy": "0" * 64, "place1_7.json": "{}"}),
    "recording": (RECORDING, {"metadata.yaml": "{}", "a.mcap": ""}),
    "demo": (DEMO, {"report.html": "", "bag/metadata.yaml": ""}),
    "drive": (DRIVE, {"steps.csv": "", "frames/000000.jpg": ""}),
    "raw tree": (BRIDGE_TREE, {"2030-01-01_00-00-00/raw/traj_group0/traj0/lang.txt": ""}),
    "LeRobot data set": (LEROBOT, {"meta/info.json": '{"codebase_version": "v3.0"}'}),
    "keys": (KEYS, {"server.key_secret": ""}),
}
FOREIGN = {
    "photos": {"a.png": "precious"},
    "another metadata.json": {"metadata.json": '{"kind": "other"}'},
    "damaged metadata.json": {"metadata.json": '{"kind": "mqe-epi'},
    "another result.json": {"result.json": '{"passed": 3}'},
    "another config.yaml": {"config.yaml": "server: 1"},
    "a link to a folder": {},
}


@pytest.mark.parametrize("makes", MADE)
@pytest.mark.parametrize("there", [*MADE, *FOREIGN])
def test_only_its_own_kind_is_replaced_and_only_when_told(tmp_path: Path, makes: str, there: str) -> None:
    kind = MADE[makes][0]
    out = put(tmp_path / "out", **(MADE[there][1] if there in MADE else FOREIGN[there]))
    if there == "a link to a folder":
        out.mkdir()
        (out / "data").symlink_to(put(tmp_path / "elsewhere", file="precious"))
    before = sorted(out.rglob("*"))
    with pytest.raises(ValueError, match=rf"out already holds {'an? ' if there == makes else 'something, '}.*"):
        check_folder(out, kind, replaces=(kind,))
    if there == makes:
        check_folder(out, kind, replaces=(kind,), force=True)
        check_folder(out, kind, continues=(kind,))
    else:
        with pytest.raises(ValueError, match="it is left alone"):
            check_folder(out, kind, replaces=(kind,), force=True)
    assert sorted(out.rglob("*")) == before


def test_what_stands_there_is_named(tmp_path: Path) -> None:
    for name, (kind, files) in MADE.items():
        if kind is not RUN_BEGUN:  # which nobody but train would know
            out, other = put(tmp_path / name, **files), STORE if kind is not STORE else RUN
            with pytest.raises(ValueError, match=f"already holds something, {kind.words}, and is no {other.name}"):
                check_folder(out, other)
    with pytest.raises(ValueError, match=r"files of another kind \(a, b, c, …\)"):
        check_folder(put(tmp_path / "photos", a="", b="", c="", d=""), STORE)


@pytest.mark.parametrize(
    "make", [lambda path: None, Path.mkdir, lambda path: (path / "lost+found").mkdir(parents=True)]
)
def test_new_and_empty_places_are_free(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "out")
    check_folder(tmp_path / "out", STORE)
    check_folder(tmp_path / "deep" / "down" / "out", RUN)
    (tmp_path / "link").symlink_to(put(tmp_path / "real"))
    (tmp_path / "real").mkdir(exist_ok=True)
    check_folder(tmp_path / "link", RUN)


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("data", "is the data that is read"),
        ("data/../data", "is the data that is read"),
        ("link", "is the data that is read"),
        ("data/inside/deep", "lies inside the data that is read"),
        ("link/inside", "lies inside the data that is read"),
        (".", "holds the data that is read"),
        ("around", "holds the data that is read"),
    ],
)
def test_an_output_keeps_apart_from_the_data(tmp_path: Path, out: str, reason: str) -> None:
    data = put(tmp_path / "data", frame="")
    (tmp_path / "link").symlink_to(data)
    (tmp_path / "around").symlink_to(tmp_path)
    for read in (data, tmp_path / "link"):
        with pytest.raises(ValueError, match=reason):
            check_folder(tmp_path / out, COLLECTION, reads=[read], continues=(COLLECTION,), force=True)


def test_nothing_goes_into_a_store_or_a_recording(tmp_path: Path) -> None:
    for name in ("store", "recording"):
        kind, files = MADE[name]
        folder = put(tmp_path / name, **files)
        for target in (folder / "features", folder / "a" / "b"):
            with pytest.raises(ValueError, match=f"lies inside {folder}, {kind.words}"):
                check_folder(target, EVALUATION)
        with pytest.raises(ValueError, match="lies inside"):
            check_file(folder / "policy.onnx", BUNDLE)
        with pytest.raises(ValueError, match="lies inside"):
            check_goal(folder / "cup.png", domain="sim", force=True)


def test_a_file_is_no_folder_and_a_broken_link_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    for kind in (STORE, RUN, EVALUATION):
        with pytest.raises(ValueError, match="already holds something, a file, and is no"):
            check_folder(tmp_path / "file", kind, replaces=(kind,), force=True)
        with pytest.raises(ValueError, match="cannot be made, as .*file is a file"):
            check_folder(tmp_path / "file" / "out", kind)
        with pytest.raises(ValueError, match="is a link to .*nowhere, which does not exist"):
            check_folder(tmp_path / "broken", kind)
    with pytest.raises(ValueError, match="is a link to"):
        check_file(tmp_path / "broken", BUNDLE)


@pytest.mark.parametrize(
    ("kind", "own"), [(BUNDLE, b"..mqe_bundle.."), (PICTURE, b"\x89PNG...."), (PICTURE, b"<?xml version")]
)
def test_a_file_is_replaced_only_by_one_of_its_kind(tmp_path: Path, kind: Kind, own: bytes) -> None:
    path = tmp_path / "file"
    check_file(path, kind)
    path.write_bytes(own)
    check_file(path, kind)
    for other in (b"", b"precious", b"\x80\x02}q\x00."):
        path.write_bytes(other)
        with pytest.raises(ValueError, match=f"exists and is no {kind.name}; it is left alone"):
            check_file(path, kind)
    with pytest.raises(ValueError, match=f"is a folder, and {kind.words} is a file"):
        check_file(tmp_path, kind)


def test_a_goal_takes_neither_a_pictures_nor_a_settings_name(tmp_path: Path) -> None:
    goal = json.dumps({"camera": "c", "domain": "sim", "capture_pose": []})
    check_goal(tmp_path / "new.png", domain="sim", force=False)
    put(
        tmp_path,
        **{"photo.png": "", "config.yaml": "policy: a.onnx", "cup.png": "", "cup.yaml": goal, "cut.yaml": goal},
    )
    for name in ("photo", "config"):
        with pytest.raises(ValueError, match=rf"{name}\.\w+ exists and belongs to no goal; it is left alone"):
            check_goal(tmp_path / f"{name}.png", domain="sim", force=True)
    with pytest.raises(ValueError, match="exists already; .* --force"):
        check_goal(tmp_path / "cup.png", domain="sim", force=False)
    check_goal(tmp_path / "cup.png", domain="sim", force=True)
    check_goal(tmp_path / "cut.png", domain="sim", force=False)  # cut off between its two files
    with pytest.raises(ValueError, match="is a goal of the domain sim, not real"):
        check_goal(tmp_path / "cup.png", domain="real", force=True)


def test_a_place_that_takes_no_files_is_found_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=rf"out cannot be made, as {tmp_path} takes no files: No space left on device"):
        check_folder(tmp_path / "out", STORE)
    assert not any(tmp_path.iterdir())


def test_room_is_looked_for_where_it_can_be_told(tmp_path: Path) -> None:
    check_folder(tmp_path / "out", STORE, needed_bytes=1000)
    with pytest.raises(OSError, match="takes 1000000000000.0 MB, and .* MB are free"):
        check_folder(tmp_path / "out", STORE, needed_bytes=10**18)


def test_a_file_is_looked_at_in_bounded_memory_and_never_waited_for(tmp_path: Path) -> None:
    huge = tmp_path / "huge.onnx"
    with huge.open("wb") as file:
        file.truncate(2**40)
    for cut in range(12):  # the mark may lie across the blocks that are read
        (tmp_path / "p.onnx").write_bytes(bytes(2**20 - cut) + b"mqe_bundle")
        check_file(tmp_path / "p.onnx", BUNDLE)
    os.mkfifo(tmp_path / "pipe")
    for path in (huge, tmp_path / "pipe"):
        for kind in (BUNDLE, PICTURE):
            with pytest.raises(ValueError, match="it is left alone"):
                check_file(path, kind)


def test_a_large_folder_is_no_folder_of_keys_at_its_first_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []

    def rglob(self: Path, pattern: str):
        for k in range(10**9):
            looked.append(k)
            yield tmp_path / f"{k}.jpg"

    monkeypatch.setattr(Path, "rglob", rglob)
    assert not KEYS.stands_at(tmp_path) and len(looked) == 1
