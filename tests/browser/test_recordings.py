"""Promise: what was recorded is found on the page, and plays there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mqe_core.robot.spec import RobotSpec
from tests.data.written_bag import Bag, walk

if TYPE_CHECKING:
    from tests.browser.page_process import PageProcess

pytest.importorskip("nicegui", reason="needs the page's library: pip install -r requirements/console.txt")
pytestmark = pytest.mark.browser


@pytest.fixture
def served(tmp_path: Path, spec: RobotSpec) -> Iterator[PageProcess]:
    """With a recording of two episodes, and one that breaks off."""
    from tests.browser.page_process import PageProcess

    folder = tmp_path / "console"
    (folder / "bags").mkdir(parents=True)
    for name in ("whole day", "killed"):
        bag = Bag(folder / "bags" / name, spec)
        for number in range(2):
            bag.mark("start")
            walk(bag, 6, seed=number, first=1 + 6 * number)
            bag.mark("stop")
            bag.time += 1.0
        bag.mark("label", "<b>puts</b> the cup down")
        bag.writer.close()
    file = folder / "bags" / "killed" / "killed.mcap"
    file.write_bytes(file.read_bytes()[:2000])
    process = PageProcess(folder)
    yield process
    process.kill()


def test_an_episode_is_found_and_played(served: PageProcess, visit) -> None:
    page = visit(served.address)
    page.get_by_text("what was recorded").click()
    page.locator('[data-recording="whole day"]').click()
    page.get_by_text("<b>puts</b> the cup down").wait_for()  # as text, whatever it holds
    for number in (1, 2):
        page.wait_for_function(f"document.querySelector('[data-episode=\"{number}\"] img').naturalWidth > 0")
    page.locator('[data-episode="2"]').click()
    page.get_by_text("picture 1 of 6").wait_for()
    page.wait_for_function("document.querySelector('.player img').naturalWidth > 0")
    page.get_by_text("Play", exact=True).click()
    page.get_by_text("picture 6 of 6").wait_for()


def test_a_recording_that_breaks_off_says_so(served: PageProcess, visit) -> None:
    page = visit(served.address)
    page.get_by_text("what was recorded").click()
    page.locator('[data-recording="killed"]').click()
    page.get_by_text("its recorder was killed", exact=False).wait_for()
