"""Facts that once had several homes have one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from mqe_core import __version__, ros_names
from mqe_core.cli import main
from mqe_core.policy.domain import REAL

ROOT = Path(__file__).parents[2]
FOLDERS = ("mqe_core", "sim", "ros2_ws/src", "benchmarks")
CODE = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def texts(path: Path) -> set[str]:
    """The string constants of a file. A docstring that contains a name is not that name; nor is a piece of an f-string,
    as in the driver's `/NAME/joint_states`.
    """
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    pieces = {id(piece) for node in nodes if isinstance(node, ast.JoinedStr) for piece in node.values}
    constants = [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in pieces]
    return {node.value for node in constants if isinstance(node.value, str)}


def test_ros_names_are_written_in_one_file() -> None:
    names = {value for key, value in vars(ros_names).items() if key.isupper()}
    assert len(names) > 10
    for path in CODE:
        found = texts(path) & names
        assert not found or path.name == "ros_names.py", f"{path} writes {sorted(found)}; take them from ros_names"


def test_the_domain_of_an_image_is_written_in_one_file() -> None:
    """Looks for the real one only: the simulator is also a backend and a camera, whose name is a fact of its own."""
    found = [str(path) for path in CODE if REAL in texts(path)]
    assert [Path(path).name for path in found] == ["domain.py"], "take SIM and REAL from mqe_core.policy.domain"


def test_the_version_has_one_home(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"mqe {__version__}\n"


@pytest.mark.parametrize(
    ("pattern", "statement"),
    [
        ("ros2_ws/src/*/package.xml", r"<version>(.+)</version>"),
        ("ros2_ws/src/*/setup.py", r'version="(.+)"'),
        ("CITATION.cff", r"(?m)^version: (.+)$"),
    ],
)
def test_files_that_cannot_import_the_version_repeat_it(pattern: str, statement: str) -> None:
    for path in ROOT.glob(pattern):
        stated = re.findall(statement, path.read_text(encoding="utf-8"))
        assert [text.strip("\"'") for text in stated] == [__version__], f"{path}: expected {__version__}, got {stated}"
