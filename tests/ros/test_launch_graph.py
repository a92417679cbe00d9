"""Promise: the arguments decide which processes run, auto never guesses silently, and what is missing is said
before anything starts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

pytest.importorskip("mqe_bringup", reason="the ROS workspace is not built: make setup")

from mqe_bringup import backends, graph
from mqe_bringup.arguments import parse_arguments
from mqe_bringup.graph import build_graph
from mqe_bringup.process import Process


@pytest.fixture
def sim(constant_policy: Path, user_folder: Path) -> dict[str, str]:
    return {"policy": str(constant_policy), "goal": "corner"}


def by_name(built: graph.Graph) -> dict[str, Process]:
    return {process.name: process for process in built.processes}


def test_the_default_is_the_sim_with_the_goals_own_scene(sim: dict[str, str]) -> None:
    built = build_graph(sim)
    processes = by_name(built)
    assert list(processes) == ["sim", "arm_node", "camera_node", "policy_node"]
    arguments = processes["sim"].arguments
    assert arguments[arguments.index("--task") + 1] == "place1" and arguments[arguments.index("--seed") + 1] == "4"
    address = arguments[arguments.index("--address") + 1]
    assert (
        processes["arm_node"].parameters["address"]
        == processes["camera_node"].parameters["address"]
        == built.sim_address
        == address
    )
    assert any("backend: sim (auto: " in line for line in built.banner)
    assert any(line == "scene: place1, seed 4" for line in built.banner)


def test_another_scene_than_the_goals_is_said(sim: dict[str, str]) -> None:
    built = build_graph({**sim, "seed": "9"})
    assert "9" in by_name(built)["sim"].arguments
    assert any("NOT the goal's own scene" in line for line in built.banner)


def test_a_scene_without_a_goal_waits_for_one(sim: dict[str, str]) -> None:
    built = build_graph({"policy": sim["policy"], "task": "place1", "seed": "3"})
    assert by_name(built)["policy_node"].parameters["goal"] == ""
    assert "goal: none yet; the arm waits for one (mqe goal send NAME)" in built.banner


def test_a_goal_that_is_not_begun_at_once_says_what_begins_it(sim: dict[str, str]) -> None:
    assert any(
        "shown; the arm drives there once it is sent: mqe goal send" in line
        for line in build_graph({**sim, "autostart": "false"}).banner
    )


def test_the_mock_replays_a_store_of_its_own_domain(sim: dict[str, str], synthetic_store: Path) -> None:
    processes = by_name(build_graph({**sim, "backend": "mock", "camera": str(synthetic_store)}))
    assert list(processes) == ["arm_node", "camera_node", "policy_node"]
    assert (
        processes["camera_node"].parameters["camera"] == "mock"
        and processes["camera_node"].parameters["domain"] == "sim"
    )


def test_the_mock_replays_the_shipped_episode_by_default(sim: dict[str, str]) -> None:
    camera = by_name(build_graph({**sim, "backend": "mock"}))["camera_node"]
    assert Path(camera.parameters["episodes"]).name == "replay" and camera.parameters["domain"] == "sim"


def test_a_recorder_and_a_dry_run_are_added_on_request(sim: dict[str, str], tmp_path: Path) -> None:
    built = build_graph({**sim, "record": str(tmp_path / "bag"), "dry_run": "true"})
    assert by_name(built)["record_node"].parameters["folder"] == str(tmp_path / "bag")
    assert by_name(built)["arm_node"].parameters["dry_run"] is True
    assert any(line.startswith("DRY RUN") for line in built.banner)


def test_a_recording_that_would_run_into_another_one_does_not_start(sim: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "drawer-2").mkdir()
    with pytest.raises(
        ValueError, match="drawer-2 exists already: a long recording .* name a new folder .* or rename that one"
    ):
        build_graph({**sim, "record": str(tmp_path / "drawer")})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backend": "hardware"}, "backend hardware cannot start: .*docs/hardware.md.*use backend:=sim"),
        ({"backend": "gazebo"}, "expected auto, hardware, sim or mock"),
        ({"goal": "nowhere.png"}, "no goal 'nowhere.png'.*known goals: .*corner.png"),
        ({"policy": "/nowhere/policy.onnx"}, "/nowhere/policy.onnx: .*mqe export"),
        ({"camera": "/dev/nowhere"}, "no such device or folder"),
        (
            {"camera": "none"},
            "shows real images, but the policy .* was trained on sim images.*mqe train.*policy:=FILE",
        ),
        ({"backend": "mock", "camera": "sim"}, "the backend is mock"),
        ({"seed": "two"}, "seed must be a whole number"),
        ({"goal": ""}, "the sim needs a scene.*goal:=NAME.*task:=TASK seed:=N.*mqe goal send"),
        ({"dry_run": "maybe"}, "dry_run must be true or false"),
        ({"record": "/tmp"}, "exists already"),
        ({"record": "ture"}, "true, false or a folder"),
    ],
)
def test_what_is_missing_or_wrong_stops_with_the_remedy(
    sim: dict[str, str], changes: dict[str, str], said: str
) -> None:
    with pytest.raises((ValueError, OSError), match=said):
        build_graph({**sim, **changes})


def test_a_real_goal_is_refused_by_a_policy_of_the_sim(sim: dict[str, str], user_folder: Path, tmp_path: Path) -> None:
    image, meaning = tmp_path / "real.png", tmp_path / "real.yaml"
    image.write_bytes((user_folder / "goals" / "corner.png").read_bytes())
    meaning.write_text(
        "camera: wrist\nresize_rule: squash-lanczos\ndomain: real\ncapture_pose: [0.2, 0, 0.2, 0, 0, 0, 1]\n"
    )
    with pytest.raises(ValueError, match="shows real images, but the policy was trained on sim images"):
        build_graph({**sim, "goal": str(image)})


def test_auto_takes_the_hardware_only_where_backend_driver_and_device_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Entry:
        def __init__(self, name: str) -> None:
            self.name = name

    assert backends.choose_backend("auto")[0] == "sim"
    monkeypatch.setattr(backends, "entry_points", lambda group: [Entry("mock"), Entry("sim"), Entry("hardware")])
    monkeypatch.setattr(backends, "DRIVER_MODULE", "json")
    monkeypatch.setattr(backends, "SERIAL_DEVICE", Path("/dev/nowhere"))
    assert backends.choose_backend("auto") == (
        "sim",
        "auto: the arm's serial device /dev/nowhere does not exist",
    )
    monkeypatch.setattr(backends, "SERIAL_DEVICE", Path("/dev/null"))
    assert backends.choose_backend("auto")[0] == backends.choose_backend("hardware")[0] == "hardware"
    monkeypatch.setattr(backends, "DRIVER_MODULE", "no_such_module")
    assert backends.choose_backend("auto") == ("sim", "auto: the arm's driver no_such_module is not installed")
    with pytest.raises(
        ValueError, match=r"no_such_module is not installed\. Next: \(1\) install .*docs/hardware.md, Installing\. "
    ):
        backends.choose_backend("hardware")
    monkeypatch.setattr(backends, "SERIAL_DEVICE", Path("/dev/nowhere"))
    with pytest.raises(
        ValueError,
        match=r"not installed, and .* does not exist\. Next: \(1\) .*; \(2\) power the arm.*docs/hardware.md, Wiring",
    ):
        backends.choose_backend("hardware")


def test_the_users_configured_policy_comes_before_the_shipped_one(
    sim: dict[str, str], user_folder: Path, constant_policy: Path
) -> None:
    config = user_folder / "config.yaml"
    config.write_text(f"policy: {constant_policy}\n")
    try:
        built = build_graph({"goal": "corner"})
        assert by_name(built)["policy_node"].parameters["policy"] == str(constant_policy)
        config.write_text("polcy: x\n")
        with pytest.raises(ValueError, match="config.yaml: expected at most policy"):
            build_graph({"goal": "corner"})
    finally:
        config.unlink()


def test_arguments_are_name_value_pairs() -> None:
    assert parse_arguments(["goal:=a:=b.png", "seed:=3"]) == {"goal": "a:=b.png", "seed": "3"}
    for wrong in ("goal", "gaol:=x"):
        with pytest.raises(ValueError, match="known, each as name:=value"):
            parse_arguments([wrong])
    for wrong in ("tsk:=place", "task=place", "task"):
        with pytest.raises(ValueError, match=f"unknown argument '{wrong}'; did you mean task:=.; known"):
            parse_arguments([wrong])


def test_a_text_parameter_stays_a_text_on_the_command_line() -> None:
    process = Process("n", "m", package="p", executable="e", parameters={"device": "0", "dry_run": True, "rate": 2.5})
    assert process.command[:3] == [sys.executable, "-m", "m"]
    given = dict(text.split(":=", 1) for text in process.command if ":=" in text and not text.startswith("__"))
    assert {name: json.loads(value) for name, value in given.items()} == {
        "device": "0",
        "dry_run": True,
        "rate": 2.5,
    }


@pytest.mark.parametrize("name", ["reached_steps", "unreachable_steps"])
def test_these_thresholds_override_the_bundles_and_are_numbers(name: str) -> None:
    def policy_parameters(**arguments: str) -> dict:
        graph = build_graph({"backend": "sim", "goal": "place.png", **arguments})
        return next(process.parameters for process in graph.processes if process.name == "policy_node")

    assert name not in policy_parameters()
    assert policy_parameters(**{name: "0"})[name] == 0.0
    for wrong in ("-1", "soon", "nan", "inf"):
        with pytest.raises(ValueError, match=f"{name} must be a number from 0"):
            policy_parameters(**{name: wrong})


def test_stall_commands_and_self_activate_reach_the_policy_node(user_folder: Path) -> None:
    def policy_parameters(**arguments: str) -> Mapping[str, bool | int | float | str]:
        return by_name(build_graph({"backend": "sim", "goal": "place.png", **arguments}))["policy_node"].parameters

    assert "stall_commands" not in policy_parameters() and policy_parameters()["self_activate"] is True
    given = policy_parameters(stall_commands="0", self_activate="false")
    assert (given["stall_commands"], given["self_activate"]) == (0, False)
    for wrong in ("-1", "1.5", "soon"):
        with pytest.raises(ValueError, match="stall_commands must be a whole number from 0"):
            policy_parameters(stall_commands=wrong)


def test_a_given_slot_reaches_the_policy_node(user_folder: Path) -> None:
    def policy_parameters(**arguments: str) -> Mapping[str, bool | int | float | str]:
        return by_name(build_graph({"backend": "sim", "goal": "place.png", **arguments}))["policy_node"].parameters

    assert "slot_s" not in policy_parameters()
    assert [policy_parameters(slot_s=given)["slot_s"] for given in ("0", "0.15")] == [0.0, 0.15]
    for wrong in ("-0.1", "0.2", "nan", "soon"):
        with pytest.raises(ValueError, match=r"slot_s must be a number from 0 and below the control period of 0\.2 s"):
            policy_parameters(slot_s=wrong)


def test_a_real_arm_needs_the_height_of_its_table(
    make_bundle, user_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "missing_for_hardware", list)
    arguments = {"backend": "hardware", "policy": str(make_bundle(domain="real")), "camera": "none"}
    with pytest.raises(ValueError, match="table_height_m: METRES"):
        build_graph(arguments)
    built = build_graph({**arguments, "table_height": "-0.02"})
    assert by_name(built)["arm_node"].parameters["table_height_m"] == -0.02
    assert "table: 20 mm below the arm's mounting plane" in built.banner
    (tmp_path / "config.yaml").write_text("table_height_m: 0.01\n")
    monkeypatch.setenv("MQE_HOME", str(tmp_path))
    built = build_graph(arguments)
    assert by_name(built)["arm_node"].parameters["table_height_m"] == 0.01
    assert "table: 10 mm above the arm's mounting plane" in built.banner
    for wrong in ("high", "nan", "0.5", "-5"):
        with pytest.raises(ValueError, match="table"):
            build_graph({**arguments, "table_height": wrong})
