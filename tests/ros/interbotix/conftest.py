"""A fake of Interbotix's driver, and a way to make it misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")
from tests.ros.interbotix_driver import FakeDriver


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[FakeDriver]:
    pytest.importorskip("interbotix_xs_msgs", reason="the tests' messages are not built: make test-setup")
    driver = FakeDriver(tmp_path)
    yield driver
    driver.stop()


@pytest.fixture
def fault(client) -> Callable[[str], None]:
    """`fault("dead_bus")`: see fake_xs_sdk.py."""
    from rclpy.qos import QoSProfile
    from std_msgs.msg import String

    from mqe_ros.topics import Topic

    publisher = None

    def inject(name: str) -> None:
        nonlocal publisher
        publisher = publisher or client.publisher(Topic("/fake_xs_sdk/fault", String, QoSProfile(depth=10)))
        publisher.publish(String(data=name))

    return inject
