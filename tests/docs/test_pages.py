"""Promise: what the pages link to and name exists, and their prose fits the screen."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.doc_pages import PAGES, ROOT, Line, lines, quoted

LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"\.?\w[\w.-]*(/[\w.-]+)*/?")
NAMED = (".py", ".sh", ".md", ".msg", ".action", ".toml", ".cff", ".txt")  # a name that ends so is a file of ours
FOLDERS = ("mqe_core", "sim", "robot_configs", "ros2_ws", "tests", "docs", "benchmarks", "requirements", ".ci")
THE_READERS_OWN = ("my_", "lang.txt")  # files that the reader writes, or that a data set has
MADE = ("ros2_ws/install", "build/", "runs/", "data/")  # folders that commands make
OTHERS = ("history.md", "CHANGELOG.md")  # pages that tell of files that are gone


def files() -> list[str]:
    """Every file of the project, from its root, with a slash before."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip("needs a git checkout")
    return ["/" + name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts and the site make them."""
    headings = [line.text for line in lines(page) if line.language is None and line.text.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_page_and_a_heading_that_exist(page: Path) -> None:
    wrong = []
    for line in lines(page):
        for target in LINK.findall(line.text) if line.language is None else ():
            path, _, anchor = target.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            file = page if not path else Path(os.path.normpath(page.parent / path))
            if not file.exists() or (anchor and anchor not in anchors(file)):
                wrong.append(f"{line} -> {target}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    if page.name in OTHERS:
        return
    known = files()
    wrong = []
    for line in lines(page):
        for name in quoted(line.text) if line.language is None else ():
            is_named = name.endswith(NAMED) and name not in NAMED or (name.split("/")[0] in FOLDERS and "/" in name)
            if not is_named or not PATH.fullmatch(name) or name.startswith(MADE):
                continue
            if name.split("/")[-1].startswith(THE_READERS_OWN):
                continue
            is_there = (ROOT / name).exists() or any(file.endswith("/" + name) for file in known)
            if not is_there and not any("/" + name.rstrip("/") + "/" in file for file in known):
                wrong.append(f"{line} -> {name}")
    assert not wrong, "\n".join(wrong)


def is_prose(line: Line) -> bool:
    return line.language is None and not line.text.lstrip().startswith(("|", "[!["))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_is_wrapped_at_120_columns(page: Path) -> None:
    long = [line for line in lines(page) if is_prose(line) and len(re.sub(r"https?://\S+", "", line.text)) > 120]
    assert not long, "\n".join(map(str, long))


def test_the_readme_is_short() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(readme) <= 120
    assert max(map(len, readme)) <= 120


def test_the_moving_picture_is_below_2_mb() -> None:
    assert (ROOT / "docs" / "assets" / "demo.webp").stat().st_size < 2_000_000
