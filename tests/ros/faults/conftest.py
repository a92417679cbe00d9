"""The fault suite's rig, once for all tests, and the table of what was measured (build/faults.md, build/slow.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tests.ros.interbotix_driver  # noqa: F401  (makes the driver's messages importable)

pytest.importorskip("mqe_bringup", reason="the ROS workspace is not built: make setup")

pytest.importorskip("interbotix_xs_msgs", reason="the tests' messages are not built: make test-setup")
from tests.ros.faults.fault_rig import Rig
from tests.ros.ros_helpers import Client

TABLES = Path(__file__).parents[3] / "build"
_rows: list[tuple[str, str, str, str]] = []


@pytest.fixture(scope="session")
def listener(ros: None) -> Iterator[Client]:
    client = Client()
    yield client
    client.close()


@pytest.fixture(scope="module")
def running(listener: Client, user_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(listener, tmp_path_factory.mktemp("rig"))
    yield rig
    rig.close()


@pytest.fixture
def rig(running: Rig) -> Iterator[Rig]:
    """The arm goes to and fro."""
    yield from running.in_motion()


@pytest.fixture
def note() -> Callable[..., None]:
    """A row of the table: the fault, what the arm did and when, the reason that was named, the way back."""

    def add(fault: str, held: str, reason: str, recovery: str) -> None:
        _rows.append((fault, held, reason, recovery))

    return add


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _rows:
        TABLES.mkdir(exist_ok=True)
        head = ["| fault | the arm | reason | afterwards |", "|---|---|---|---|"]
        name = f"{session.config.option.markexpr}.md"  # faults.md, slow.md
        (TABLES / name).write_text(
            "\n".join([*head, *("| " + " | ".join(row) + " |" for row in _rows)]) + "\n", encoding="utf-8"
        )
