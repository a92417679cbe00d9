"""Promise: `teleop:=PAD` starts the pad's driver and the node that listens to it, and says what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("mqe_bringup", reason="the ROS workspace is not built: make setup")

from mqe_bringup.graph import Graph, build_graph
from mqe_core.runtime.teleop.devices import NO_DRIVER, load_devices

PADS = {pad.name: pad for pad in load_devices().pads if pad.package != NO_DRIVER}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ament prefix in which every pad's driver is installed."""
    import os

    prefix = tmp_path / "prefix"
    for pad in PADS.values():
        marker = prefix / "share" / "ament_index" / "resource_index" / "packages" / pad.package
        program = prefix / "lib" / pad.package / pad.executable
        for path in (marker, program):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"#!{sys.executable}\n")
        program.chmod(0o755)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{prefix}:{os.environ['AMENT_PREFIX_PATH']}")


def built(constant_policy: Path, teleop: str) -> Graph:
    return build_graph({"policy": str(constant_policy), "task": "place1", "seed": "3", "teleop": teleop})


def test_without_it_nothing_is_started(constant_policy: Path) -> None:
    names = [process.name for process in built(constant_policy, "false").processes]
    assert not {"teleop_node", "joy_driver"} & set(names)


@pytest.mark.parametrize(("given", "pad"), [("joy", "gamepad"), *((name, name) for name in PADS)])
def test_a_pad_starts_its_driver_and_the_node(constant_policy: Path, installed: None, given: str, pad: str) -> None:
    graph = built(constant_policy, given)
    processes = {process.name: process for process in graph.processes}
    driver, node = processes["joy_driver"], processes["teleop_node"]
    assert (driver.package, driver.executable) == (PADS[pad].package, PADS[pad].executable)
    assert f"{PADS[pad].topic}:=/joy" in driver.command and node.parameters["pad"] == pad
    assert not driver.is_needed and not node.is_needed  # where one ends, the arm holds, and the graph goes on
    assert any(line.startswith("teleop: ") and PADS[pad].dead_man in line for line in graph.banner)


def test_a_driver_that_is_not_installed_is_named_with_other_ways(constant_policy: Path) -> None:
    with pytest.raises(ValueError, match="sudo apt install ros-jazzy-joy .*teleop:=topic.*mqe teleop"):
        built(constant_policy, "joy")


def test_a_pad_that_the_page_reads_has_no_driver(constant_policy: Path) -> None:
    with pytest.raises(ValueError, match="no driver brings it; the console's page reads it: console:=true"):
        built(constant_policy, "browser")


def test_a_driver_of_ones_own_needs_none(constant_policy: Path) -> None:
    graph = built(constant_policy, "topic")
    assert [process.name for process in graph.processes][-1] == "teleop_node"
    assert any("a driver of your own publishes /joy" in line for line in graph.banner)


def test_a_mistyped_pad_is_named(constant_policy: Path) -> None:
    with pytest.raises(ValueError, match="no pad is called 'xboks'; did you mean xbox"):
        built(constant_policy, "xboks")
