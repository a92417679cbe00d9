"""Promise: by the page alone a person drives the simulated arm to a goal, and holds it on the way.

With MQE_SCREENSHOTS=FOLDER the pictures for the pages are taken on the way (`make screenshots`).
"""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from mqe_core.ros_domain import domain_of
from mqe_core.workspace import is_built
from tests.browser.page_acts import drive_and_let_go, resume, take_by_hand

pytest.importorskip("nicegui", reason="needs the page's library: pip install -r requirements/console.txt")
pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
START_S, DRIVE_S = 180.0, 120.0
TOO_BUSY = ("stale_state", "Remedies: a smaller policy")  # what the graph says of such a machine
SHOTS = os.environ.get("MQE_SCREENSHOTS")


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page of a simulated arm before its drawer, with no goal in force."""
    if not is_built():
        pytest.skip("needs the ROS workspace: make setup")
    folder = tmp_path_factory.mktemp("graph")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = ["goal:=drawer_place", "backend:=sim", "autostart:=false", f"console:={port}"]
    environment = {
        **os.environ,
        "ROS_DOMAIN_ID": str(domain_of(os.getpid())),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "MQE_HOME": str(folder / "home"),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mqe_core.cli", "up", *arguments],
            cwd=folder, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    end = time.monotonic() + START_S
    try:
        while True:
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5.0).close()
                break
            assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def await_words(page, *words: str) -> None:
    """Until the page shows all of them. On a busy machine the arm's joints come late, and it holds by itself; or the
    goal stalls. Then it is resumed, or sent again, as a person would.
    """
    end = time.monotonic() + DRIVE_S
    while not all(word in (shown := page.inner_text("body")) for word in words):
        if time.monotonic() > end:
            if any(sign in shown for sign in TOO_BUSY):
                pytest.skip("needs a machine that drives in real time: joints or answers came too late here")
            raise AssertionError(f"{words} do not come")
        if "recovered from" in shown:
            page.locator('[data-act="resume"]').click()
        elif "ended: stalled" in shown:
            page.locator('[data-act="send"]').click()
        page.wait_for_timeout(500)


def shoot(page, name: str) -> None:
    """Of 256 colours, which is a third of the bytes."""
    if SHOTS:
        with Image.open(io.BytesIO(page.screenshot())) as picture:
            picture.convert("RGB").quantize(256).save(Path(SHOTS) / f"{name}.png", optimize=True)


def test_a_goal_is_sent_and_reached_and_the_arm_held(graph: str, visit) -> None:
    page = visit(graph)
    await_words(page, "ready", "no goal")
    page.locator('[data-goal="drawer_place"]').click()
    page.locator('[data-act="send"]:not([disabled])').click()
    await_words(page, "moving", "goal drawer_place")
    page.wait_for_timeout(2000)
    shoot(page, "console")
    page.keyboard.press("Space")
    page.get_by_text("✓ HELD").wait_for()
    assert "ended" not in page.inner_text("body")  # it was on its way
    resume(page)
    await_words(page, "drawer_place ended: reached")
    page.keyboard.press("Space")
    page.get_by_text("✓ HELD").wait_for()
    resume(page)


def test_a_phone_at_night_sees_the_camera(graph: str, visit) -> None:
    page = visit(graph, width=390, height=844, dark=True)
    page.wait_for_function("document.querySelector('img[data-picture=camera]').naturalWidth > 0")
    shoot(page, "console_phone")


def test_the_keyboard_takes_the_simulated_arm(graph: str, visit) -> None:
    page = visit(graph)
    await_words(page, "ready")
    take_by_hand(page)
    drive_and_let_go(page)
    await_words(page, "the operator let go")
