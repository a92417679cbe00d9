"""Promise: what docs/architecture.md tells of exists under the names it uses."""

from __future__ import annotations

import re

from tests.docs.doc_pages import ROOT, lines, quoted

SOURCES = ("mqe_core", "sim", "ros2_ws/src")


def test_every_class_and_function_of_the_walks_exists() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for folder in SOURCES for path in (ROOT / folder).rglob("*.py"))
    defined = set(re.findall(r"^ *(?:class|def) (\w+)", source, flags=re.MULTILINE))
    page = ROOT / "docs" / "architecture.md"
    told = [span for line in lines(page) if line.language is None for span in quoted(line.text)]
    names = {part for span in told if re.fullmatch(r"[A-Z]\w+(\.\w+)?|[a-z]+_\w+", span) for part in span.split(".")}
    known = defined | {"policy_node", "arm_node", "closed_loop", "mqe_core", "mqe_sim", "robot_configs"}
    assert len(names) > 30 and names <= known, sorted(names - known)
