"""Promise: a ROS domain that is none is named before anything speaks in another one."""

from __future__ import annotations

import pytest

from mqe_core.ros_domain import discovery_hint, require_discovery, ros_domain


@pytest.mark.parametrize("text", ["102", "-1", "abc", "1.5", " 5", "077", "00", "0x10", "٣"])
def test_what_is_no_domain_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", text)
    with pytest.raises(ValueError, match="ROS_DOMAIN_ID must be a whole number from 0 to 101"):
        ros_domain()


def test_none_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    assert ros_domain() == 0
    for text, domain in (("", 0), ("0", 0), ("101", 101)):
        monkeypatch.setenv("ROS_DOMAIN_ID", text)
        assert ros_domain() == domain


def test_what_keeps_nodes_from_finding_each_other_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROS_DISCOVERY_SERVER", raising=False)
    for allowed in ("", "LOCALHOST", "SUBNET", "SYSTEM_DEFAULT"):
        monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", allowed)
        require_discovery()
    assert discovery_hint() == ""
    monkeypatch.setenv("ROS_DISCOVERY_SERVER", "127.0.0.1:11811")
    assert "ROS_DISCOVERY_SERVER" in discovery_hint()
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    with pytest.raises(ValueError, match="ROS_AUTOMATIC_DISCOVERY_RANGE is OFF"):
        require_discovery()
