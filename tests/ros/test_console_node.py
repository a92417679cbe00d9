"""Promise: by its page's line an operator takes the arm, holds and resumes it; a page that falls silent lets go.

Real processes on the mock backend, started once for the whole file. The page itself: tests/browser.
"""

from __future__ import annotations

import contextlib
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")
pytest.importorskip("nicegui", reason="needs NiceGUI: pip install -r requirements/console.txt")

from builtin_interfaces.msg import Time

from mqe_bringup.graph import build_graph
from mqe_bringup.supervisor import Supervisor
from mqe_core import images
from mqe_core.console.link import REFERENCE
from mqe_core.console.live import PICTURES
from mqe_interfaces.msg import ArmStatus
from mqe_ros import convert, topics
from tests.ros.page_line import PageLine, free_port
from tests.ros.ros_helpers import PATIENCE_S, Client, reach, target

PORT = free_port()


@pytest.fixture(scope="module")
def running(
    constant_policy: Path, synthetic_store: Path, user_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Supervisor]:
    arguments = {"backend": "mock", "policy": str(constant_policy), "camera": str(synthetic_store)}
    graph = build_graph({**arguments, "console": str(PORT)})
    supervisor = Supervisor(graph.environment, log_folder=tmp_path_factory.mktemp("logs"))
    supervisor.start(graph.processes)
    yield supervisor
    codes = supervisor.stop()
    assert codes == {"arm_node": 0, "camera_node": 0, "policy_node": 0, "console_node": 0}, {
        name: supervisor.log_tail(name) for name in codes
    }


@pytest.fixture
def page(homed: Client, running: Supervisor) -> Iterator[PageLine]:
    end = time.monotonic() + PATIENCE_S
    while True:  # the page's node imports more than the others
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/", timeout=PATIENCE_S) as answer:
                assert answer.status == 200
                break
        except OSError:
            assert time.monotonic() < end and running.ended() is None, running.log_tail("console_node")
            time.sleep(0.2)
    page = PageLine(PORT)
    homed.wait(lambda: "not held" in page.told, "the page's hand at rest")
    yield page
    page.dead_man, page.keys, page.speaks = False, [], True
    homed.wait(lambda: status(homed).state != ArmStatus.MOVING, "the arm's hold")
    page.close()
    homed.call("/arm/resume")


def status(client: Client) -> ArmStatus:
    return client.newest("/arm/status")


def take(client: Client, page: PageLine) -> None:
    """Press until it counts: on a busy machine what a page says may arrive late, and lets go."""
    end = time.monotonic() + PATIENCE_S
    while status(client).commander != "operator" or status(client).state != ArmStatus.MOVING:
        assert time.monotonic() < end, page.told
        page.dead_man = False
        client.spin(0.3)
        page.dead_man = True
        client.spin(0.7)


def test_pictures_of_the_camera_come(page: PageLine, homed: Client) -> None:
    homed.wait(lambda: len(page.pictures) > 3, "some pictures")
    assert images.decode(page.pictures[-1][1:]).ndim == 3


def test_the_picture_of_a_policy_s_training_goes_with_its_policy(page: PageLine, homed: Client) -> None:
    """Shown by this process, as by a policy that carries one; the graph's own carries none."""
    topic, number = topics.REFERENCE_IMAGE, PICTURES.index(REFERENCE)
    publisher = homed.node.create_publisher(topic.type, topic.name, topic.qos)
    publisher.publish(convert.array_to_image(np.full((32, 32, 3), 90, np.uint8), Time(), ""))
    homed.wait(lambda: any(picture[0] == number for picture in page.pictures), "the picture")
    homed.node.destroy_publisher(publisher)
    homed.spin(2.0)  # the policy's status comes five times a second
    with contextlib.closing(PageLine(PORT)) as later:
        homed.wait(lambda: len(later.pictures) > 10, "pictures")
        assert all(picture[0] != number for picture in later.pictures)


def test_the_page_takes_the_arm_from_a_policy_and_only_a_resume_gives_it_back(page: PageLine, homed: Client) -> None:
    goal = reach(homed)
    goal.moving()
    take(homed, page)
    homed.wait(lambda: status(homed).refused == "operator", "the refusal of the policy")
    page.dead_man = False
    homed.wait(lambda: "let go" in status(homed).reason, "the hold")
    still = target(homed)
    homed.spin(0.6)
    np.testing.assert_array_equal(target(homed), still)
    page.keys = ["enter"]
    homed.wait(lambda: status(homed).commander == "policy", "the policy's turn")
    page.keys = []
    goal.cancel()
    goal.result()


def test_a_key_moves_the_hand_while_it_is_held(page: PageLine, homed: Client) -> None:
    take(homed, page)
    before = target(homed)
    page.keys = ["f"]  # down
    end = time.monotonic() + PATIENCE_S
    while target(homed)[2, 3] > before[2, 3] - 0.01:
        assert time.monotonic() < end, page.told
        take(homed, page)
        homed.spin(0.5)
    page.keys = []
    page.dead_man = False
    homed.wait(lambda: status(homed).state == ArmStatus.HELD, "the hold")


def test_a_page_that_falls_silent_lets_go(page: PageLine, homed: Client) -> None:
    take(homed, page)
    page.speaks = False
    homed.wait(lambda: "let go" in status(homed).reason, "the hold")
    page.speaks = True  # still pressed: that does not count
    homed.spin(1.0)
    assert status(homed).state == ArmStatus.HELD


def test_the_pages_hold_wins(page: PageLine, homed: Client) -> None:
    page.keys = ["space"]
    homed.wait(lambda: status(homed).state == ArmStatus.HELD and status(homed).reason == "operator", "the hold")
    page.keys = []
    homed.spin(0.2)
    page.keys = ["enter"]
    homed.wait(lambda: status(homed).state == ArmStatus.READY, "the end of the hold")
