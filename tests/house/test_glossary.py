"""The glossary is right about where each word stands in the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Words that mean one thing only, and where the code may say them: prefixes of paths from the project's root.
RESERVED = {
    "waypoint": (
        *("mqe_core/learning/", "tests/learning/", "tests/golden/", "tests/formats/"),
        *("benchmarks/update", "benchmarks/ogbench_plan.py", "benchmarks/critic_chunks.py"),
    ),
    "slot": (
        "mqe_core/runtime/latency.py",
        "mqe_core/doctor/machine.py",
        "ros2_ws/src/mqe_interfaces/msg/PolicyStatus.msg",
        "ros2_ws/src/mqe_ros/",
        "ros2_ws/src/mqe_bringup/mqe_bringup/arguments.py",
        "ros2_ws/src/mqe_bringup/mqe_bringup/graph.py",
        "benchmarks/graph_timing.py",
        "tests/runtime/test_latency.py",
        "tests/ros/test_parameters.py",
        "tests/ros/test_policy_slot.py",
        "tests/ros/test_launch_graph.py",
        "tests/test_doctor.py",
    ),
}
CODE = ("mqe_core", "sim", "ros2_ws/src", "robot_configs", "benchmarks", "tests", "docs/examples")
PLACE = re.compile(r"`([\w./]+/[\w./]+)`(?:: `(\w+)`)?")


def rows() -> list[tuple[str, str]]:
    """(word, where it stands in the code) of every row."""
    lines = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [(row[0], row[2]) for row in cells if row[0] not in ("word", "---")]


def test_every_word_is_where_the_glossary_says() -> None:
    assert len(rows()) > 50
    for word, where in rows():
        places = PLACE.findall(where)
        assert places, f"{word}: names no file of the project: {where}"
        for path, name in places:
            assert (ROOT / path).exists(), f"{word}: there is no {path}"
            if name:
                assert re.search(rf"\b{name}\b", (ROOT / path).read_text(encoding="utf-8")), (
                    f"{word}: no {name} in {path}"
                )


@pytest.mark.parametrize("word", RESERVED)
def test_a_reserved_word_means_nothing_else(word: str) -> None:
    files = [
        path for folder in CODE for end in ("py", "yaml", "msg", "action") for path in (ROOT / folder).rglob(f"*.{end}")
    ]
    allowed = (*RESERVED[word], "tests/house/test_glossary.py")
    outside = [path for path in files if not path.relative_to(ROOT).as_posix().startswith(allowed)]
    assert len(outside) > 100
    pattern = re.compile(rf"(?<![a-z]){word}s?(?![a-z])", re.IGNORECASE)
    wrong = [str(path) for path in outside if pattern.search(path.read_text(encoding="utf-8"))]
    assert not wrong, f"'{word}' has one meaning (docs/glossary.md); another word is wanted in {wrong}"


def test_no_word_is_explained_twice() -> None:
    words = [word for word, _ in rows()]
    assert sorted(words) == sorted(set(words))
