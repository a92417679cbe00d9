"""Promise: the doctor finds what is wrong, says what to do, and fails only where the arm could not be driven."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mqe_core import doctor
from mqe_core.cli import main
from mqe_core.doctor import FAIL, OK, WARN, Finding
from mqe_core.spec import RobotSpec
from mqe_core.user_files import policy_in_use, shipped_policy


def test_it_looks_at_everything_and_each_complaint_has_a_remedy(make_bundle, spec: RobotSpec) -> None:
    findings = list(doctor.examine(spec, make_bundle(), "given", None))
    said = " ".join(finding.what for finding in findings)
    looks = ["Python", "onnxruntime", "ms an action", "table", "rclpy", "RMW"]
    looks += ["ROS domain", "/dev/shm", "wake-ups", "real-time", "arm's driver", "disk"]
    for what in looks:
        assert what in said
    assert all(finding.remedy for finding in findings if finding.level != OK)


def test_a_broken_policy_fails_with_its_reason(tmp_path: Path, spec: RobotSpec) -> None:
    (tmp_path / "policy.onnx").write_bytes(b"no policy")
    (finding,) = doctor._policy(spec, tmp_path / "policy.onnx", "given")
    assert finding.level == FAIL and "no readable ONNX file" in finding.remedy


def test_a_policy_that_is_too_slow_fails(make_bundle, spec: RobotSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10_000))
    monkeypatch.setattr(doctor.time, "perf_counter", lambda: float(next(ticks)))
    (finding,) = doctor._policy(spec, make_bundle(domain="real"), "given")
    assert finding.level == FAIL and "mqe serve" in finding.remedy


def test_the_policy_that_would_run_is_named_and_that_of_the_sim_is_none_for_an_arm(
    make_bundle, spec: RobotSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQE_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "SERIAL_DEVICE", tmp_path / "ttyDXL")
    shipped = make_bundle()
    runs, refused = doctor._policy(spec, *policy_in_use(None, shipped))
    assert (runs.level, refused.level) == (OK, OK)
    assert runs.what.startswith("policy policy.onnx (shipped): sim images, ")
    assert "real cameras refuse it" in refused.what and "docs/hardware.md" in refused.remedy
    doctor.SERIAL_DEVICE.touch()  # an arm is there
    assert [finding.level for finding in doctor._policy(spec, *policy_in_use(None, shipped))] == [OK, WARN]
    (tmp_path / "config.yaml").write_text(f"policy: {make_bundle(domain='real')}\n")
    (runs,) = doctor._policy(spec, *policy_in_use(None, shipped))
    assert runs.level == OK and f"(named in {tmp_path / 'config.yaml'}): real images" in runs.what


def test_where_no_policy_came_with_the_installation_one_has_to_be_named(
    spec: RobotSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQE_HOME", str(tmp_path))
    (finding,) = doctor._policy(spec, *policy_in_use(None, tmp_path / "nowhere.onnx"))
    assert finding.level == WARN and "~/.mqe/config.yaml" in finding.remedy
    assert shipped_policy().is_file()


def test_a_table_whose_height_is_not_known_is_said_and_matters_where_an_arm_is(
    spec: RobotSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQE_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "SERIAL_DEVICE", tmp_path / "ttyDXL")
    (unknown,) = doctor._table(spec)
    assert unknown.level == OK and "`table_height_m: METRES`" in unknown.remedy
    doctor.SERIAL_DEVICE.touch()  # an arm is there
    assert [finding.level for finding in doctor._table(spec)] == [WARN]
    (tmp_path / "config.yaml").write_text("table_height_m: -0.018\n")
    assert list(doctor._table(spec)) == [Finding(OK, "table: 18 mm below the arm's mounting plane")]
    (tmp_path / "config.yaml").write_text("table_height_m: -18\n")
    (wrong,) = doctor._table(spec)
    assert wrong.level == FAIL and "is it in metres?" in wrong.remedy


def test_too_little_or_no_shared_memory_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert next(doctor._shared_memory(tmp_path)).level == OK
    monkeypatch.setattr(doctor, "_SHARED_MEMORY_MB", 1e12)
    assert "--shm-size" in next(doctor._shared_memory(tmp_path)).remedy
    assert next(doctor._shared_memory(tmp_path / "absent")).level == FAIL


def test_a_camera_that_gives_nothing_fails(tmp_path: Path) -> None:
    (finding,) = doctor._camera(str(tmp_path / "video9"))
    assert finding.level == FAIL and "gives no image" in finding.what


def test_a_serial_device_without_permission_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "ttyDXL"
    assert [finding.level for finding in doctor._arm(device)][-1] == WARN
    device.touch()
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert any(finding.level == FAIL and "dialout" in finding.remedy for finding in doctor._arm(device))


def test_a_domain_that_is_shared_by_default_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY"):
        monkeypatch.delenv(name, raising=False)
    assert any("another graph can command this arm" in finding.remedy for finding in doctor._ros())
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    assert not any("another graph" in finding.remedy for finding in doctor._ros())
    monkeypatch.setenv("ROS_DOMAIN_ID", "102")
    assert [finding.remedy for finding in doctor._ros() if finding.level == FAIL] == [
        "ROS_DOMAIN_ID must be a whole number from 0 to 101, got '102': set another one, or unset it"
    ]


def test_the_commands_exit_code_is_the_verdict(
    make_bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda *_: iter([Finding(OK, "a"), Finding(WARN, "b", "do c")]))
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0 to fix, 1 to know, 2 looked at"
    monkeypatch.setattr(doctor, "examine", lambda *_: iter([Finding(FAIL, "d", "do e")]))
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == [{"level": "FAIL", "what": "d", "remedy": "do e"}]
