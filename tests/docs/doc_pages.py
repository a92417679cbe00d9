"""The pages of the documentation in parts: prose, code blocks, quoted words, links and commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if "examples" not in path.parts)
SHELL = ("", "bash", "sh", "console")  # languages of the code blocks whose lines are commands


@dataclass(frozen=True)
class Line:
    """One line of a page, and the language of the code block that it stands in: None in prose."""

    page: Path
    number: int
    text: str
    language: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.number}: {self.text}"


def lines(page: Path) -> Iterator[Line]:
    """All lines of a page but the fences of its code blocks."""
    language: str | None = None
    for number, text in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if text.lstrip().startswith("```"):
            language = text.strip().strip("`").split(" ")[0] if language is None else None
        else:
            yield Line(page, number, text, language)


def quoted(text: str) -> list[str]:
    """What stands between backticks in a line of prose."""
    return text.split("`")[1::2]


def commands(text: str) -> list[list[str]]:
    """The commands in a line for a shell, in words: without comments, variables before them, and the rest of a pipe."""
    try:
        words = shlex.split(text.removesuffix("\\"), comments=True)
    except ValueError:  # prose with an apostrophe
        return []
    found: list[list[str]] = [[]]
    for word in words:
        if word in ("&&", ";", "|", "&"):
            found.append([])
        elif found[-1] or not re.fullmatch(r"[A-Z_]+=.*", word):
            found[-1].append(word)
    return [command for command in found if command]


def shell_lines(page: Path) -> Iterator[Line]:
    """The lines of a page's code blocks for a shell; one that is continued comes as a whole."""
    begun = ""
    for line in lines(page):
        if line.language not in SHELL:
            continue
        if line.text.endswith("\\"):
            begun += line.text.removesuffix("\\")
        else:
            yield Line(page, line.number, begun + line.text, line.language)
            begun = ""
