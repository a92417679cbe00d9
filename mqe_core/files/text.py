"""Text files of ours and of others, read strictly: an error is one line that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from mqe_core.files.bounded import TEXT_BYTES, read_bounded, shortened, shown

_MOST_BYTES = 2**28  # of a text file; those of a store have a line an episode
_REASON_BYTES = 400


def read_text(path: Path, most: int = _MOST_BYTES) -> str:
    """The file, of at most `most` bytes, as UTF-8 with or without a byte-order mark. ValueError where it is something
    else.
    """
    try:
        return read_bounded(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 (byte {error.start}); save it as UTF-8") from error


def read_json(path: Path) -> Any:
    """What the JSON file says. ValueError, in one line, where it is empty, cut off or no JSON."""
    text = read_text(path)
    if not text.strip():
        raise ValueError(f"{path} is empty, expected JSON")
    return parse_json(text, str(path))


def parse_json(text: str, where: str) -> Any:
    """What the JSON text says. ValueError, in one line that begins with `where`, where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not valid JSON, or cut off: {error}") from error


def read_json_lines(path: Path) -> list[Any]:
    """What each line of the file says, as JSON. ValueError, in one line, where one is cut off or no JSON."""
    found = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        try:
            found += [json.loads(line)] if line.strip() else []
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: not valid JSON, or cut off: {error}") from error
    return found


def read_json_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file. ValueError as `read_json`, and where it says something else."""
    return _mapping(path, read_json(path))


def read_yaml(path: Path, most: int = TEXT_BYTES) -> Any:
    """What the YAML file says; None where it says nothing. ValueError, in one line, where it is no YAML, or has more
    than `most` bytes.
    """
    return parse_yaml(read_text(path, most), str(path))


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, empty where the file is. ValueError as `read_yaml`, and where it says something
    else.
    """
    content = read_yaml(path)
    return {} if content is None else _mapping(path, content)


def parse_yaml(text: str, where: str) -> Any:
    """What the YAML text says. ValueError, in one line that begins with `where`, where it is none.

    Aliases are not read: few of them can mean gigabytes.
    """
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except RecursionError as error:
        raise ValueError(f"{where}: not valid YAML: nested too deeply") from error
    except Exception as error:  # numbers and dates that are none raise whatever Python raises for them
        raise ValueError(f"{where}: not valid YAML: {shortened(_in_one_line(error), _REASON_BYTES)}") from error


class _PlainLoader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*name); write out what it stands for")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """YAML would let the last one win, without a word."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    said = f"the key {shown(key.value)} comes twice"
                    raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _mapping(path: Path, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{path}: expected a mapping of keys, got {type(content).__name__}")
    return content


def _in_one_line(error: Exception) -> str:
    """What is wrong and where, without the lines of YAML that the library shows beneath."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    context = getattr(error, "context", None)
    return f"{getattr(error, 'problem', None) or context} (line {mark.line + 1}, column {mark.column + 1})"
