"""Promise: JSON and YAML are read by `mqe_core/files/text.py` alone, which bounds size, depth and aliases."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for folder in ("mqe_core", "sim", "ros2_ws/src", "robot_configs")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
READERS = {
    "yaml": ("load", "safe_load", "full_load", "unsafe_load", "load_all", "safe_load_all"),
    "json": ("load", "loads"),
}
HOME = ROOT / "mqe_core" / "files" / "text.py"
# Texts that are no files: an entry of a bundle, which is bounded as a whole; messages between the sim's own processes.
NO_FILES = {
    "mqe_core/policy/bundle.py": "json.loads",
    "sim/client.py": "json.loads",
    "sim/server.py": "json.loads",
}


def reads(path: Path) -> set[str]:
    """The readers of those libraries that the file names, called or not."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in READERS
    }
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in READERS
        for alias in node.names
    }
    return {name for name in named | imported if name.split(".")[1] in READERS[name.split(".")[0]]}


def test_json_and_yaml_have_one_reader() -> None:
    found = {path.relative_to(ROOT).as_posix(): reads(path) for path in SOURCES if path != HOME}
    wrong = {path: names - {NO_FILES.get(path, "")} for path, names in found.items()}
    assert {path: names for path, names in wrong.items() if names} == {}, "read_json, read_yaml of mqe_core.files.text"


def test_the_one_reader_is_there_and_the_exceptions_are_needed() -> None:
    assert reads(HOME) == {"json.loads", "yaml.load"}
    assert all(name in reads(ROOT / path) for path, name in NO_FILES.items())


def test_every_way_of_reading_is_seen(tmp_path: Path) -> None:
    for text in ("import yaml\nyaml.safe_load(x)", "from json import load", "import json\nread = json.loads"):
        (tmp_path / "a.py").write_text(text)
        assert len(reads(tmp_path / "a.py")) == 1
