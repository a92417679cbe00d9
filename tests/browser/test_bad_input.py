"""Promise: what a person gives the page that is nothing it can use is answered in words, on the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mqe_core.images import encode_png

if TYPE_CHECKING:
    from tests.browser.page_process import PageProcess

pytest.importorskip("nicegui", reason="needs the page's library: pip install -r requirements/console.txt")
pytestmark = pytest.mark.browser

PAGES = 8  # that are open at once


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageProcess]:
    from tests.browser.page_process import PageProcess

    process = PageProcess(tmp_path_factory.mktemp("console"))
    yield process
    process.kill()


def send(page, name: str, data: bytes | Path) -> None:
    """Choose the picture as a new goal of that name."""
    file = data if isinstance(data, Path) else {"name": "picture.png", "mimeType": "image/png", "buffer": data}
    if not page.get_by_label("its name").is_visible():
        page.get_by_text("new goal", exact=True).click()
    page.get_by_label("its name").fill(name)
    page.locator(".new-goal input[type=file]").set_input_files(file)


def scene(seed: int = 0, height: int = 480, width: int = 640) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("cup", b"no picture at all", "not a readable JPEG or PNG image"),
        ("cup", b"", "not a readable JPEG or PNG image"),
        ("cup", encode_png(np.full((480, 640, 3), 90, np.uint8)), "one even colour"),
        ("cup", encode_png(np.zeros((2001, 2000, 3), np.uint8)), "at most 4000000 are taken"),
        ("../cup", scene(), "a goal's name is made of letters"),
        ("", scene(), "a goal's name is made of letters"),
        ("place", scene(), "there is a goal place already"),
    ],
    ids=["no picture", "empty", "even", "large", "path", "nameless", "taken"],
)
def test_what_becomes_no_goal_is_said(served: PageProcess, visit, name: str, data: bytes, words: str) -> None:
    page = visit(served.address)
    send(page, name, data)
    page.get_by_text(words).wait_for()
    assert not list(served.folder.rglob("*.png"))


def test_a_heavy_file_is_not_even_sent(served: PageProcess, visit, tmp_path: Path) -> None:
    heavy = tmp_path / "heavy.png"
    heavy.write_bytes(bytes(20_000_000))
    page = visit(served.address)
    send(page, "cup", heavy)
    page.get_by_text("JPEG or PNG of at most 16 MB").wait_for()


def test_a_picture_becomes_a_goal_that_is_listed(served: PageProcess, visit) -> None:
    page = visit(served.address)
    send(page, "my_cup", scene(1, 600, 800))
    page.get_by_text("made smaller to 640x480").wait_for()
    page.locator('[data-goal="my_cup"] img').wait_for()
    page.wait_for_function("document.querySelector('[data-goal=\"my_cup\"] img').naturalWidth > 0")
    (served.folder / "goals" / "my_cup.png").unlink()
    (served.folder / "goals" / "my_cup.yaml").unlink()


def test_ten_pages_are_eight_and_two_that_are_told_so(served: PageProcess, visit) -> None:
    pages = [visit(served.address, expected=("503",)) for _ in range(PAGES)]
    for page in pages:
        while not page.locator('[data-act="hold"]').count():  # pages of the test before may still be leaving
            page.wait_for_timeout(1000)
            page.reload()
        page.wait_for_function("document.querySelector('img[data-picture=camera]').naturalWidth > 0")
    for _ in range(2):
        visit(served.address, expected=("503",)).get_by_text("8 pages of the console are open").wait_for()
    pages[0].locator('[data-act="hold"]').click()  # by any of them
    pages[-1].get_by_text("✓ HELD").wait_for()
    pages[-1].locator('[data-act="resume"]').click()
