"""What a person does on the page, for tests: each act returns once the page shows it."""

from __future__ import annotations


def hold(page):
    return page.locator('[data-act="hold"]')


def take_by_hand(page) -> None:
    """Hand control on, as the page shows it."""
    page.locator('[data-act="hand"]').click()
    page.locator("[data-hand-state]").get_by_text("hand control is off").wait_for(state="detached")


def press_until_it_counts(page, *keys: str) -> None:
    """Where a busy machine makes the page late, its hand does not count until it is pressed anew."""
    for _ in range(20):
        for key in keys:
            page.keyboard.down(key)
        page.wait_for_timeout(1500)
        if page.locator('[data-hand-state="yours"]').count():
            return
        for key in reversed(keys):
            page.keyboard.up(key)
        page.wait_for_timeout(300)
    raise AssertionError(page.locator("[data-hand-state]").inner_text())


def drive_and_let_go(page) -> None:
    """Forward by the keyboard, with hand control on; the arm is held afterwards."""
    press_until_it_counts(page, "Shift", "w")
    page.get_by_text("moving, by the operator").wait_for()
    page.keyboard.up("w")
    page.keyboard.up("Shift")
    page.get_by_text("✓ HELD").wait_for()


def resume(page) -> None:
    page.locator('[data-act="resume"]').click()
    page.get_by_text("HOLD", exact=True).wait_for()
