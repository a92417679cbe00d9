"""Promise: the functions, metrics and keys that docs/algorithm.md maps the equations to are there."""

from __future__ import annotations

import ast
import dataclasses
import re

from mqe_core.learning.agents import AGENTS
from mqe_core.learning.run.run_config import TrainConfig
from tests.docs.page_tables import ROOT, quoted, rows

HEADING = "Equation, function, metric"
FILES = sorted((ROOT / "mqe_core" / "learning").rglob("*.py"))


def defined() -> set[str]:
    """Names of functions, classes and methods of the learning code, methods as Class.method."""
    found = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                found.add(node.name)
            if isinstance(node, ast.ClassDef):
                found |= {f"{node.name}.{entry.name}" for entry in node.body if isinstance(entry, ast.FunctionDef)}
    return found


def test_each_function_is_defined_and_each_file_is_there() -> None:
    named = [text for row in rows("algorithm.md", HEADING) for text in quoted(row.get("function", ""))]
    functions = [text for text in named if re.fullmatch(r"[A-Za-z_.]+", text) and not text.endswith(".py")]
    assert len(functions) > 8 and set(functions) <= defined()
    assert {text for text in named if text.endswith(".py")} <= {path.name for path in FILES}


def test_each_metric_is_logged() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in FILES)
    for row in rows("algorithm.md", HEADING):
        for metric in quoted(row.get("logged as", "")):
            assert metric.split("/")[-1] in source, metric


def test_each_symbol_stands_for_a_key() -> None:
    config = AGENTS["mqe"][1]
    keys = {field.name for kind in (config, TrainConfig) for field in dataclasses.fields(kind)}
    lines = [line for line in (ROOT / "docs" / "algorithm.md").read_text(encoding="utf-8").splitlines()]
    table = lines[lines.index("| symbol | key | | symbol | key |") + 2 :]
    named = [text for line in table[: table.index("")] for text in quoted(line)]
    assert len(named) == 9 and set(named) <= keys
