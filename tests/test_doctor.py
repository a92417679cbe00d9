"""Promise: the doctor finds what is wrong, says what to do, and fails only where the arm could not be driven."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mqe_core.cli import main
from mqe_core.doctor import camera, machine, ros
from mqe_core.doctor.finding import FAIL, OK, WARN, Finding, tried
from mqe_core.policy.familiarity import GRID, Familiarity
from mqe_core.robot.spec import RobotSpec
from mqe_core.user_files import policy_in_use, shipped_policy


def test_it_looks_at_everything_and_each_complaint_has_a_remedy(make_bundle, spec: RobotSpec) -> None:
    findings = list(machine.examine(spec, make_bundle(), "given", None))
    said = " ".join(finding.what for finding in findings)
    looks = ["Python", "onnxruntime", "ms an action", "table", "rclpy", "RMW"]
    looks += ["ROS domain", "/dev/shm", "wake-ups", "real-time", "arm's driver", "disk"]
    for what in looks:
        assert what in said
    assert all(finding.remedy for finding in findings if finding.level != OK)


def test_a_broken_policy_fails_with_its_reason(tmp_path: Path, spec: RobotSpec) -> None:
    (tmp_path / "policy.onnx").write_bytes(b"no policy")
    (finding,) = machine._policy(spec, tmp_path / "policy.onnx", "given")
    assert finding.level == FAIL and "no readable ONNX file" in finding.remedy


class SteppingClock:
    """Each look at it is so much later."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._looks = 0

    def now(self) -> float:
        self._looks += 1
        return self._looks * self._step_s

    def sleep_until(self, t: float) -> None:
        pass


def test_a_policy_that_is_too_slow_is_warned_of(make_bundle, spec: RobotSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mqe_core.runtime.latency.MonotonicClock", lambda: SteppingClock(1.0))
    (finding,) = machine._policy(spec, make_bundle(domain="real"), "given")
    assert finding.level == WARN and "mqe serve" in finding.remedy
    assert "1000.0 ms an action (slowest 1000.0), slot 100 ms" in finding.what


def test_the_policy_that_would_run_is_named_and_that_of_the_sim_is_none_for_an_arm(
    make_bundle, spec: RobotSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQE_HOME", str(tmp_path))
    monkeypatch.setattr("mqe_core.runtime.latency.MonotonicClock", lambda: SteppingClock(0.001))
    monkeypatch.setattr(machine, "SERIAL_DEVICE", tmp_path / "ttyDXL")
    shipped = make_bundle()
    runs, refused = machine._policy(spec, *policy_in_use(None, shipped))
    assert (runs.level, refused.level) == (OK, OK)
    assert runs.what.startswith("policy policy.onnx (shipped): sim images, ")
    assert "real cameras refuse it" in refused.what and "docs/hardware.md" in refused.remedy
    machine.SERIAL_DEVICE.touch()  # an arm is there
    assert [finding.level for finding in machine._policy(spec, *policy_in_use(None, shipped))] == [OK, WARN]
    (tmp_path / "config.yaml").write_text(f"policy: {make_bundle(domain='real')}\n")
    (runs,) = machine._policy(spec, *policy_in_use(None, shipped))
    assert runs.level == OK and f"(named in {tmp_path / 'config.yaml'}): real images" in runs.what


def test_where_no_policy_came_with_the_installation_one_has_to_be_named(
    spec: RobotSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQE_HOME", str(tmp_path))
    (finding,) = machine._policy(spec, *policy_in_use(None, tmp_path / "nowhere.onnx"))
    assert finding.level == WARN and "~/.mqe/config.yaml" in finding.remedy
    assert shipped_policy().is_file()


def test_a_table_whose_height_is_not_known_is_said_and_matters_where_an_arm_is(
    spec: RobotSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQE_HOME", str(tmp_path))
    monkeypatch.setattr(machine, "SERIAL_DEVICE", tmp_path / "ttyDXL")
    (unknown,) = machine._table(spec)
    assert unknown.level == OK and "`table_height_m: METRES`" in unknown.remedy
    machine.SERIAL_DEVICE.touch()  # an arm is there
    assert [finding.level for finding in machine._table(spec)] == [WARN]
    (tmp_path / "config.yaml").write_text("table_height_m: -0.018\n")
    assert list(machine._table(spec)) == [Finding(OK, "table: 18 mm below the arm's mounting plane")]
    (tmp_path / "config.yaml").write_text("table_height_m: -18\n")
    (wrong,) = machine._table(spec)
    assert wrong.level == FAIL and "is it in metres?" in wrong.remedy


def test_too_little_or_no_shared_memory_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert next(machine._shared_memory(tmp_path)).level == OK
    monkeypatch.setattr(machine, "_SHARED_MEMORY_MB", 1e12)
    assert "--shm-size" in next(machine._shared_memory(tmp_path)).remedy
    assert next(machine._shared_memory(tmp_path / "absent")).level == FAIL


def test_a_camera_that_gives_nothing_fails(tmp_path: Path) -> None:
    (finding,) = camera.examine_camera(str(tmp_path / "video9"))
    assert finding.level == FAIL and "gives no image: it cannot be opened" in finding.what


def test_a_camera_that_hangs_fails_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "video9")
    monkeypatch.setattr(camera, "_LIMIT_S", 1.5)
    began = time.monotonic()
    (finding,) = camera.examine_camera(str(tmp_path / "video9"))
    assert finding.level == FAIL and finding.what.endswith("gives no image: it hangs")
    assert time.monotonic() - began < 10.0


def test_a_camera_that_gives_images_is_timed_and_looked_at(tmp_path: Path, make_bundle) -> None:
    cv2 = pytest.importorskip("cv2")
    film = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (64, 48))
    for level in range(50):
        film.write(np.full((48, 64, 3), level, np.uint8))
    film.release()
    (finding,) = camera.examine_camera(str(tmp_path / "film.avi"))
    assert finding.level == OK and "images/s" in finding.what
    for lightest, expected in {60: OK, 20: WARN}.items():  # the last picture's grey is 49
        known = Familiarity(np.zeros((GRID, GRID, 3), np.uint8), np.full((GRID, GRID, 3), lightest, np.uint8), 0.01)
        policy = make_bundle(domain="real", familiar_pictures=known.encoded())
        _, finding = camera.examine_camera(str(tmp_path / "film.avi"), policy)
        assert finding.level == expected and "unlike the training data" in finding.what
    assert len(list(camera.examine_camera(str(tmp_path / "film.avi"), make_bundle(domain="real")))) == 1


def test_what_is_tried_ends_in_time_with_all_that_it_started() -> None:
    began = time.monotonic()
    hung = tried(["sh", "-c", "echo begun; sleep 60 & sleep 60"], os.environ, 3.0)
    assert (hung.code, hung.said, hung.reason) == (None, ["begun"], "it hangs") and time.monotonic() - began < 10.0
    failed = tried([sys.executable, "-c", "import sys; sys.exit(102)"], os.environ, 30.0)
    assert failed.reason == "it ended with exit code 102"
    assert tried(["sh", "-c", "echo first >&2; echo why >&2; exit 1"], os.environ, 30.0).reason == "why"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise ImportError('built for another Python')", "ImportError: built for another Python"),
        ("import os; os._exit(102)", "it ended with exit code 102"),
        ("import time; time.sleep(60)", "it hangs"),
    ],
)
def test_an_rclpy_that_comes_first_and_cannot_be_loaded_is_named(
    source: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another ROS is sourced in front."""
    (tmp_path / "rclpy").mkdir()
    path = tmp_path / "rclpy" / "__init__.py"
    path.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(ros, "_LIMIT_S", 3.0)
    found = ros._rclpy({**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (found.level, found.what) == (FAIL, f"rclpy cannot be loaded from {path}: {reason}")
    assert "no ROS is sourced" in found.remedy


def test_a_serial_device_without_permission_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "ttyDXL"
    assert [finding.level for finding in machine._arm(device)][-1] == WARN
    device.touch()
    monkeypatch.setattr(machine.os, "access", lambda *_: False)
    assert any(finding.level == FAIL and "dialout" in finding.remedy for finding in machine._arm(device))


def test_a_domain_that_is_shared_by_default_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY"):
        monkeypatch.delenv(name, raising=False)
    assert any("another graph can command this arm" in finding.remedy for finding in ros._domain())
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    assert not any("another graph" in finding.remedy for finding in ros._domain())
    monkeypatch.setenv("ROS_DOMAIN_ID", "102")
    assert [finding.remedy for finding in ros._domain() if finding.level == FAIL] == [
        "ROS_DOMAIN_ID must be a whole number from 0 to 101, got '102': set another one, or unset it"
    ]


@pytest.mark.parametrize("content", [None, b"<dds", b"\xff"])
def test_a_profile_that_the_middleware_would_pass_over_is_said(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "profile.xml"
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", str(profile))
    if content is not None:
        profile.write_bytes(content)
    (finding,) = ros._profile()
    assert finding.level == WARN and finding.what.startswith("the profile of the RMW cannot be read: ")
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" in finding.remedy
    profile.write_bytes(b"<dds/>")
    (finding,) = ros._profile()
    assert finding.level == OK


def test_the_commands_exit_code_is_the_verdict(
    make_bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(machine, "examine", lambda *_: iter([Finding(OK, "a"), Finding(WARN, "b", "do c")]))
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0 to fix, 1 to know, 2 looked at"
    monkeypatch.setattr(machine, "examine", lambda *_: iter([Finding(FAIL, "d", "do e")]))
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == [{"level": "FAIL", "what": "d", "remedy": "do e"}]
