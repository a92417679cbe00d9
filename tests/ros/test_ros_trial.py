"""Promise: `mqe doctor` finds out by trying whether a node starts and a message arrives, and disturbs no graph."""

from __future__ import annotations

import os
import socket

import pytest

pytest.importorskip("mqe_bringup", reason="the ROS workspace is not built: make setup")

from mqe_bringup import ros_trial
from mqe_core.doctor import ros
from mqe_core.doctor.finding import FAIL, OK, Finding
from mqe_core.ros_domain import HIGHEST


def by_level() -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in ros.examine_ros():
        found.setdefault(finding.level, []).append(finding)
    return found


def test_where_ros_works_a_message_arrives() -> None:
    found = by_level()
    assert FAIL not in found
    said = " ".join(finding.what for finding in found[OK])
    for what in ("rclpy is loaded from /", "a node starts: rmw_fastrtps_cpp", "messages arrive: an image of 640x480"):
        assert what in said


@pytest.mark.parametrize(
    ("variable", "value", "what"),
    [
        ("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp", "exiting with 102"),
        ("RMW_IMPLEMENTATION", "nonsense", "exiting with 102"),
        ("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF", "no message arrives in another process: nothing came back within"),
    ],
)
def test_what_breaks_ros_is_found_with_its_reason(
    variable: str, value: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    (finding,) = by_level()[FAIL]
    assert what in finding.what and finding.remedy


def test_it_speaks_where_nobody_does() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        first = ros_trial.free_domain()
        taken.bind(("127.0.0.1", 7400 + 250 * first + 10))
        second = ros_trial.free_domain()
    assert second < first <= HIGHEST
    assert os.environ.get("ROS_DOMAIN_ID") != str(second)
