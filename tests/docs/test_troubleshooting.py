"""Promise: docs/troubleshooting.md has a row for each safety rule, reason, doctor's line and error that stops a launch,
`mqe run`, `mqe serve`, an operator's command, an image encoder or training on several ranks, and none for what the code
does not say.

Messages are read from the source: what is worked out at run time counts as `…`, on the page as well.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from mqe_core.robot.safety_rules import CLIP_RULES, NOT_NOW, REFUSE_RULES
from mqe_core.runtime.policy_reasons import REASONS
from tests.docs.page_tables import BRINGUP_SOURCES, ROOT, ROS_SOURCES, calls, quoted, rows, section

PAGE = "troubleshooting.md"
HEADINGS = re.findall(r"^## (.+)$", (ROOT / "docs" / PAGE).read_text(encoding="utf-8"), re.MULTILINE)

# What a launch, its nodes, `mqe run`, `mqe serve` and an operator's commands run through. Not: the demo's own programs,
# and what only training, data and evaluation use.
NOT_OPERATED = {"demo.py", "scene_run.py", "evaluate.py", "report.py", "picture.py"}  # of mqe_bringup
SOURCES = [
    path
    for path in (
        *sorted(BRINGUP_SOURCES.glob("*.py")),
        *sorted(ROS_SOURCES.glob("*.py")),
        *sorted((ROOT / "mqe_core" / "policy").glob("*.py")),
        *sorted((ROOT / "mqe_core" / "runtime").rglob("*.py")),
        *sorted((ROOT / "mqe_core" / "console").rglob("*.py")),
        *(ROOT / "mqe_core" / f"{name}.py" for name in ("workspace", "ros_domain", "user_files", "command_line")),
        *sorted((ROOT / "mqe_core" / "files").glob("*.py")),
        ROOT / "mqe_core" / "images.py",
        ROOT / "mqe_core" / "robot" / "episode_marks.py",
        ROOT / "mqe_core" / "commands" / "goal_add.py",
        *(
            ROOT / "mqe_core" / "data" / f"{name}.py"
            for name in (
                "agreement",
                "append",
                "importer",
                "in_shards",
                "loading",
                "on_ray",
                "readers/bag_episodes",
                "readers/bag_index",
                "readers/bag_marks",
                "readers/bag_messages",
                "readers/bridge_raw",
                "readers/lerobot_layout",
                "readers/ros_bag",
                "seen",
                "source",
                "source_files",
                "store/import_journal",
                "store/metadata",
                "store/parts",
                "store/place",
                "store/restartable_writer",
                "units",
            )
        ),
        *(ROOT / "mqe_core" / "learning" / name for name in ("ranks/ranks.py", "ranks/sharing.py", "ranks/watch.py")),
        *(
            ROOT / "mqe_core" / "learning" / "run" / f"{name}.py"
            for name in ("checkpoint", "shareable", "trainer", "what_fits")
        ),
        *(ROOT / "mqe_core" / "learning" / "export" / f"{name}.py" for name in ("half", "parity")),
        *(
            ROOT / "mqe_core" / "learning" / "networks" / f"{name}.py"
            for name in ("imagenet_weights", "shared_encoder")
        ),
        ROOT / "mqe_core" / "learning" / "rows" / "pixels.py",
        ROOT / "mqe_core" / "commands" / "replay.py",
        ROOT / "mqe_core" / "closed_loop" / "rigs.py",
        *(ROOT / "sim" / f"{name}.py" for name in ("client", "wire", "robot")),
    )
    if path.name not in NOT_OPERATED
]
ERRORS = {"ValueError", "RuntimeError", "FileNotFoundError", "FileExistsError", "OSError", "TimeoutError"}
ERRORS |= {"BundleError", "LostRankError", "PolicyUnavailable", "Refused", "WriteError"}


def says(node: ast.expr) -> list[str]:
    """The texts that an expression may become, with `…` for what is worked out at run time."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.IfExp):
        return says(node.body) + says(node.orelse)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [left + right for left in says(node.left) for right in says(node.right)]
    if isinstance(node, ast.FormattedValue):
        return says(node.value) if isinstance(node.value, ast.IfExp) else ["…"]
    texts = [""]
    for part in node.values if isinstance(node, ast.JoinedStr) else ():
        texts = [text + more for text in texts for more in says(part)]
    return texts if isinstance(node, ast.JoinedStr) else ["…"]


def has_words(text: str) -> bool:
    """Whether a message says more than what was handed to it."""
    return len(re.findall(r"[a-z]", text)) > 3


def errors(path: Path) -> list[list[str]]:
    """For each error that is raised in the file the texts that it may say."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Raise) or node.exc is None:
            continue
        for call in ast.walk(node.exc):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ERRORS and call.args:
                texts = [text for text in says(call.args[0]) if has_words(text)]
                found += [texts] if texts else []
    return found


def all_texts(path: Path) -> list[str]:
    """Every text in the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [text for node in ast.walk(tree) if isinstance(node, (ast.Constant, ast.JoinedStr)) for text in says(node)]


def on_page(column: str) -> list[str]:
    """What stands in that column, between backticks, in all tables of the page that have it first."""
    return [
        text
        for heading in HEADINGS
        for row in rows(PAGE, heading)
        if next(iter(row)) == column
        for text in quoted(row[column])
    ]


def fits(excerpt: str, text: str) -> bool:
    """Whether the page's excerpt is a part of the message."""
    return excerpt in text


def test_each_safety_rule_has_one_row_with_its_answer() -> None:
    answers = {quoted(row["rule"])[0]: row["answer"].split(",")[0] for row in rows(PAGE, "The safety filter")}
    assert answers == dict.fromkeys(CLIP_RULES, "clips") | dict.fromkeys(REFUSE_RULES, "refuses")
    assert on_page("refused") == list(NOT_NOW)


def test_each_reason_of_the_policy_node_has_one_row() -> None:
    assert sorted(on_page("reason")) == sorted(REASONS)


def test_each_error_that_stops_a_launch_or_a_command_has_a_row() -> None:
    excerpts = on_page("message")
    missing = [
        f"{path.name}: {texts[0]}"
        for path in SOURCES
        for texts in errors(path)
        if not any(fits(excerpt, text) for excerpt in excerpts for text in texts)
    ]
    assert not missing, "\n".join(missing)


def test_no_row_is_about_a_message_that_the_code_does_not_have() -> None:
    texts = [text for path in SOURCES for text in all_texts(path)]
    stale = [excerpt for excerpt in on_page("message") if not any(fits(excerpt, text) for text in texts)]
    assert not stale, "\n".join(stale)


def test_each_line_of_the_doctor_has_a_row_and_each_row_a_line() -> None:
    files = sorted((ROOT / "mqe_core" / "doctor").glob("*.py"))
    lines = [says(call.args[1]) for path in files for call in calls(path, "Finding")]
    known = on_page("line")
    assert [texts for texts in lines if not any(fits(row, text) for row in known for text in texts)] == []
    assert [row for row in known if not any(fits(row, text) for texts in lines for text in texts)] == []


def test_each_row_says_what_to_do() -> None:
    for heading in HEADINGS:
        for row in rows(PAGE, heading):
            assert all(row.values()), (heading, row)
    assert section(PAGE, "mqe doctor")
