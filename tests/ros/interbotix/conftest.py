"""A fake of Interbotix's driver, and the product's arm on it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INSTALL = HERE.parents[2] / "build" / "interbotix" / "install"  # made by `make test-setup`

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")
from ros_workspace import enter  # noqa: E402

if importlib.util.find_spec("interbotix_xs_msgs") is None and (INSTALL / "setup.bash").is_file():
    enter(INSTALL)
if importlib.util.find_spec("interbotix_xs_modules") is None:  # upstream's where it is installed
    sys.path.append(str(HERE / "stand_in"))
    os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(HERE / "stand_in")])


class FakeDriver:
    """The process, what reached it, and a way to make it misbehave."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._log = folder / "commands.jsonl"
        self.process = subprocess.Popen([sys.executable, str(HERE / "fake_xs_sdk.py"), "--log", str(self._log), *arguments])

    def commands(self, what: str) -> list[tuple[float, list[float]]]:
        """(monotonic s, values) of every command of that kind so far."""
        lines = map(json.loads, self._log.read_text(encoding="utf-8").splitlines()) if self._log.exists() else ()
        return [(when, values) for when, kind, values in lines if kind == what]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[FakeDriver]:
    pytest.importorskip("interbotix_xs_msgs", reason="the tests' messages are not built: make test-setup")
    driver = FakeDriver(tmp_path)
    yield driver
    driver.stop()


@pytest.fixture
def fault(client) -> Callable[[str], None]:
    """`fault("dead_bus")`: see fake_xs_sdk.py."""
    from std_msgs.msg import String

    publisher = client.node.create_publisher(String, "/fake_xs_sdk/fault", 10)

    def inject(name: str) -> None:
        client.wait(publisher.get_subscription_count, "the fake driver's discovery")
        publisher.publish(String(data=name))

    return inject
