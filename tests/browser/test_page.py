"""Promise: a person with a browser sees what the arm does, holds it at once, and takes it over by the keyboard."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.page_acts import drive_and_let_go, hold, press_until_it_counts, resume, take_by_hand

if TYPE_CHECKING:
    from tests.browser.page_process import PageProcess

pytest.importorskip("nicegui", reason="needs the page's library: pip install -r requirements/console.txt")
pytestmark = pytest.mark.browser

ANSWER_MS = 50.0
TOKEN = "t" * 43
PHONE = {"width": 390, "height": 844}
SERIOUS = ("serious", "critical")
LOST = ("ERR_CONNECTION_REFUSED", "WebSocket", "net::ERR", "socket", "Failed to load resource")  # of a killed server

# Presses the button as soon as it is told to, and says after how many ms the button said something else.
PRESS = """() => new Promise((done) => {
  const button = document.querySelector('[data-act="hold"]');
  const begun = performance.now();
  new MutationObserver((_, observer) => {
    if (!button.textContent.includes("asked")) return;
    observer.disconnect();
    done([performance.now() - begun, button.textContent]);
  }).observe(button, {subtree: true, childList: true, characterData: true});
  button.click();
})"""
SHOWN = """[...document.querySelectorAll("[data-act]")]
  .filter((element) => element.offsetParent && !element.disabled).map((element) => element.dataset.act)"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageProcess]:
    from tests.browser.page_process import PageProcess

    process = PageProcess(tmp_path_factory.mktemp("console"))
    yield process
    process.kill()


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[PageProcess]:
    """A page of its own, whose arm takes two seconds to hold."""
    from tests.browser.page_process import PageProcess

    process = PageProcess(tmp_path, hold_s=2.0)
    yield process
    process.kill()


def test_hold_answers_at_once_and_is_done_when_the_arm_says_so(slow, visit) -> None:
    page = visit(slow.address)
    page.get_by_text("HOLD", exact=True).wait_for()
    times = []
    for _ in range(8):  # the best and the middle: this machine may be busy with other things
        ms, words = page.evaluate(PRESS)
        times.append(ms)
        assert "asked to hold" in words and "HELD" not in words
        page.wait_for_timeout(500)
        assert "HELD" not in hold(page).inner_text()  # the arm has not said so yet
        page.get_by_text("✓ HELD").wait_for()
        resume(page)
    print(f"hold: {min(times):.0f} ms at best, {statistics.median(times):.0f} ms in the middle")
    assert min(times) < ANSWER_MS


@pytest.fixture
def far(tmp_path: Path) -> Iterator[PageProcess]:
    """A page that is for whoever brings the token."""
    from tests.browser.page_process import PageProcess

    process = PageProcess(tmp_path, token=TOKEN)
    yield process
    process.kill()


def test_behind_a_token_it_is_the_same_page(far, visit) -> None:
    page = visit(f"{far.address}?token={TOKEN}")
    page.get_by_text("HOLD", exact=True).wait_for()
    page.wait_for_function("document.querySelector('img[data-picture=camera]').naturalWidth > 0")
    hold(page).click()
    page.get_by_text("✓ HELD").wait_for()


def test_the_space_bar_holds_wherever_the_focus_is(served, visit) -> None:
    page = visit(served.address)
    for place in ('[data-act="resume"]', '[data-act="send"]', "body"):
        page.locator(place).focus()
        page.keyboard.press("Space")
        page.get_by_text("✓ HELD").wait_for()
        resume(page)


def test_the_keyboard_takes_the_arm_and_gives_it_back_by_resume_alone(served, visit) -> None:
    page = visit(served.address)
    take_by_hand(page)
    state = page.locator("[data-hand-state]")
    drive_and_let_go(page)
    assert state.get_attribute("data-hand-state") == "not"
    resume(page)


@pytest.mark.parametrize("clock_s", [-3600.0, 3600.0])
def test_the_browser_s_clock_does_not_matter(served, visit, clock_s: float) -> None:
    page = visit(served.address, clock_s=clock_s)
    assert abs(page.evaluate("Date.now()") / 1e3 - time.time() - clock_s) < 60
    take_by_hand(page)
    drive_and_let_go(page)
    resume(page)


def test_a_page_that_loses_its_focus_lets_go(served, visit) -> None:
    page = visit(served.address)
    take_by_hand(page)
    press_until_it_counts(page, "Shift")
    page.evaluate("window.dispatchEvent(new Event('blur'))")
    page.get_by_text("✓ HELD").wait_for()
    page.keyboard.up("Shift")
    resume(page)


def test_the_camera_is_compared_with_the_goal_or_with_the_training(served, visit) -> None:
    page = visit(served.address)
    goal, training = (page.locator(f"figure.{name}") for name in ("goal", "reference"))
    page.get_by_text("difference", exact=True).click()
    page.get_by_text(re.compile("(for|of) the goal(: was it moved| do not fit:|$)")).wait_for()
    assert goal.is_visible() and not training.is_visible()
    page.get_by_text("the training", exact=True).click()
    page.wait_for_function("document.querySelector('img[data-picture=reference]').naturalWidth == 128")
    page.get_by_text(re.compile("(for|of) the training(: was it moved| do not fit|$)")).wait_for()
    assert training.is_visible() and not goal.is_visible()


def test_a_goal_is_sent_and_cancelled(served, visit) -> None:
    page = visit(served.address)
    page.locator('[data-goal="drawer_place"]').click()
    page.get_by_text("Send drawer_place").click()
    page.get_by_text("goal drawer_place", exact=False).first.wait_for()
    page.get_by_text(re.compile(r"[0-9.]+ steps to the goal")).wait_for()
    page.locator('[data-act="cancel"]').click()
    page.get_by_text("no goal", exact=True).wait_for()


def test_a_server_that_was_killed_is_noticed_and_found_again(slow, visit) -> None:
    page = visit(slow.address, expected=LOST)
    cut = page.locator("[data-cut-off]")
    page.get_by_text("HOLD", exact=True).wait_for()
    assert cut.is_hidden()
    slow.kill()
    killed = time.monotonic()
    cut.wait_for(state="visible", timeout=5000)
    print(f"lost: said {time.monotonic() - killed:.2f} s after the kill")
    slow.start()
    cut.wait_for(state="hidden")  # from here on the button counts
    hold(page).click()
    page.get_by_text("asked to hold").wait_for()
    page.get_by_text("✓ HELD").wait_for()


@pytest.mark.parametrize("size", [PHONE, {"width": 320, "height": 568}, {"width": 844, "height": 390}], ids=str)
def test_a_phone_scrolls_in_one_direction_only(served, visit, size) -> None:
    page = visit(served.address, **size)
    page.get_by_text("HOLD", exact=True).wait_for()
    page.wait_for_timeout(500)
    wide = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1]
    box = hold(page).bounding_box()
    assert box["height"] >= 44 and box["x"] >= 0 and box["x"] + box["width"] <= size["width"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [{}, PHONE], ids=["wide", "phone"])
def test_people_with_aids_can_use_it(served, visit, size, dark: bool) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = visit(served.address, dark=dark, **size)
    page.get_by_text("HOLD", exact=True).wait_for()
    page.wait_for_timeout(500)
    found = Axe().run(page).response["violations"]
    serious = [
        f"{one['id']}: {one['help']}: {[node['html'][:120] for node in one['nodes'][:3]]}"
        for one in found
        if one["impact"] in SERIOUS
    ]
    assert not serious, "\n".join(serious)


def test_every_control_is_reached_by_the_keyboard(served, visit) -> None:
    page = visit(served.address)
    page.get_by_text("HOLD", exact=True).wait_for()
    wanted = set(page.evaluate(SHOWN))
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('[data-act]')?.dataset.act || ''"))
    assert wanted - {"send"} <= reached and len(wanted) > 5
