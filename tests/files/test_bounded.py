"""Promise: a file of somebody else is looked at before it is read, and what is wrong with it is said in few words."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from mqe_core.files.bounded import read_bounded, shortened, shown
from mqe_core.files.text import read_yaml


def test_a_file_within_the_bound_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert read_bounded(file, 5) == b"12345"
    with pytest.raises(ValueError, match="file: 5 bytes; of such a file at most 4 are read"):
        read_bounded(file, 4)


def test_a_link_counts_as_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "link").symlink_to("file")
    assert read_bounded(tmp_path / "link", 5) == b"1"
    (tmp_path / "endless").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="endless: a device"):
        read_bounded(tmp_path / "endless", 5)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop"):
        read_bounded(tmp_path / "loop", 5)


def test_what_is_no_file_is_named_and_never_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        begun = time.monotonic()
        for path, kind in ((tmp_path, "folder"), (tmp_path / "pipe", "pipe"), (Path("socket"), "socket")):
            with pytest.raises(ValueError, match=f"{path.name}: a {kind}, where a file was expected"):
                read_bounded(path, 100)
        for device in ("/dev/zero", "/dev/random", "/dev/null"):
            with pytest.raises(ValueError, match=f"{device}: a device"):
                read_bounded(Path(device), 100)
    assert time.monotonic() - begun < 1.0


def test_a_sparse_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    with file.open("wb") as opened:
        opened.truncate(2**31)
    begun = time.monotonic()
    with pytest.raises(ValueError, match="2147483648 bytes"):
        read_bounded(file, 2**20)
    assert time.monotonic() - begun < 0.5


def test_a_file_of_the_kernels_that_says_it_is_empty_is_bounded_too() -> None:
    with pytest.raises(ValueError, match="more than 10 bytes"):
        read_bounded(Path("/proc/self/status"), 10)


BAD_YAML = {
    "nested": "camera: " + "[" * 3000 + "]" * 3000,
    "nested mappings": "{a: " * 2000,
    "indented": "\n".join(" " * k + "a:" for k in range(300)),
    "digits": f"seed: {'1' * 5000}",
    "date": "domain: 2001-99-99",
    "binary": "camera: !!binary a",
    "python": "camera: !!python/object/apply:os.system ['true']",
    "unhashable": "{[a]: b}",
    "latin-1": b"camera: \xe9\xff",
    "utf-16": "camera: a".encode("utf-16"),
    "nul": "camera: a\0b",
    "alias": "a: &a [1, 2]\nb: *a",
    "bomb": "a0: &a0 [x]\n" + "\n".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 30)),
    "merges": "a: &a {x: 1}\nb: {<<: [*a, *a]}",
    "two documents": "a: 1\n---\nb: 2",
    "too large": "a: " + "b" * 2**17,
    "tab": "a:\n\t- b",
    "float": "a: !!float x",
    "quote": "a: 'b",
}


@pytest.mark.parametrize("name", BAD_YAML)
def test_a_yaml_that_is_none_is_refused_by_its_name_in_few_words(name: str, tmp_path: Path) -> None:
    content, file = BAD_YAML[name], tmp_path / "meaning.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    begun = time.monotonic()
    try:
        read_yaml(file)
    except ValueError as error:
        said = str(error)
        assert said.startswith(str(file)) and len(said.encode()) < 1000
    else:
        assert name == "indented"  # deep, but not too deep
    assert time.monotonic() - begun < 3.0


def test_a_long_text_keeps_its_begin_and_its_end() -> None:
    assert shortened("short", 10) == "short"
    for text in ("a" * 10**6 + "end", "🦀" * 500 + "end", "\0\x1b[31m" * 300 + "end", "\ud800" * 100 + "end"):
        cut = shortened(text, 100)
        assert len(cut.encode()) <= 100 and cut.endswith("end") and "…" in cut and "\x1b" not in cut


def test_a_value_is_shown_whatever_it_is() -> None:
    nested: list[object] = []
    for _ in range(10**5):
        nested = [nested]
    assert shown("a") == "'a'" and shown(10**5000) == "a very long int"
    assert "list" in shown(nested)
    assert len(shown("x" * 10**6)) <= 100
