"""Promise: the picture in docs/results.md shows figures that stand on the pages, and the page stays short."""

from __future__ import annotations

import csv

from tests.docs.page_tables import ROOT

MOST_WORDS = 1200


def test_each_figure_of_the_picture_stands_on_its_page() -> None:
    with (ROOT / "benchmarks" / "success_over_stages.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    for row in rows:
        page = (ROOT / "docs" / f"{row['page']}.md").read_text(encoding="utf-8")
        assert f"{row['value']} ({row['low']}–{row['high']})" in page, row


def test_the_picture_is_there_and_small() -> None:
    picture = ROOT / "docs" / "assets" / "success_over_stages.svg"
    assert picture.name in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert picture.stat().st_size < 200_000


def test_the_results_are_read_in_one_go() -> None:
    assert len((ROOT / "docs" / "results.md").read_text(encoding="utf-8").split()) <= MOST_WORDS
