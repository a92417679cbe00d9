"""Reads the tables of the pages in `docs/`, and the constants of source files without importing them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROS_SOURCES = ROOT / "ros2_ws" / "src" / "mqe_ros" / "mqe_ros"
BRINGUP_SOURCES = ROOT / "ros2_ws" / "src" / "mqe_bringup" / "mqe_bringup"


def section(page: str, heading: str) -> str:
    """The text of `docs/<page>` under the heading of that name, up to the next heading of its level or above."""
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    starts = [k for k, line in enumerate(lines) if line.lstrip("#").strip() == heading and line.startswith("#")]
    assert len(starts) == 1, f"docs/{page} has {len(starts)} headings {heading!r}"
    level = len(lines[starts[0]]) - len(lines[starts[0]].lstrip("#"))
    kept: list[str] = []
    is_code = False
    for line in lines[starts[0] + 1 :]:
        is_code ^= line.startswith("```")
        if not is_code and line.startswith("#") and len(line) - len(line.lstrip("#")) <= level:
            break
        kept.append(line)
    return "\n".join(kept)


def rows(page: str, heading: str) -> list[dict[str, str]]:
    """The rows of all tables in that section, by the names of their columns."""
    found: list[dict[str, str]] = []
    header: list[str] = []
    for line in section(page, heading).splitlines():
        if not line.startswith("|"):
            header = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not header:
            header = cells
        elif not set(line) <= set("|-: "):
            assert len(cells) == len(header), f"docs/{page}: {line}"
            found.append(dict(zip(header, cells)))
    return found


def quoted(cell: str) -> list[str]:
    """What stands between backticks."""
    return cell.split("`")[1::2]


def calls(path: Path, name: str) -> Iterator[ast.Call]:
    """The calls of a function or class of that name in a source file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", None)) == name:
            yield node


def assigned(path: Path, name: str) -> ast.expr:
    """What a source file assigns to a name of the module."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            assert node.value is not None
            return node.value
    raise AssertionError(f"{path} assigns no {name}")
