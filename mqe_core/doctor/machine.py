"""What a machine must have to drive an arm, checked one by one: `mqe doctor`.

A check tries or looks, changes nothing, and says what to do. FAIL: the graph does not start, or is not safe. WARN: it
runs, but worse than it could, or something is missing that only some need.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from mqe_core.doctor.camera import examine_camera
from mqe_core.doctor.finding import FAIL, OK, WARN, Finding
from mqe_core.doctor.ros import examine_ros
from mqe_core.policy.domain import SIM
from mqe_core.robot.spec import RobotSpec, say_table_height, with_table_height
from mqe_core.runtime.real_arm import DRIVER_MODULE, SERIAL_DEVICE
from mqe_core.user_files import SHIPPED, configured_table_height

_SHARED_MEMORY_MB = 64  # a participant of the shipped Fast DDS profile takes 8 MB; there are half a dozen
_WAKE_LATE_MS = 2.0  # what the arm's command interval may deviate (docs/reliability.md)
_FREE_GB = 5.0  # a recording of 640x480 at 30 Hz takes 1.6 GB a minute
_LATENCY_TIMER_MS = 1  # of the arm's USB adapter; the kernel's default of 16 slows every joint state down


def examine(spec: RobotSpec, policy: Path, source: str, device: str | None) -> Iterator[Finding]:
    """All checks, in order.

    Args:
        policy: bundle to open and time.
        source: who named it (user_files.policy_in_use).
        device: camera to read for two seconds; None: only look whether there is one.
    """
    checks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        _packages,
        lambda: _policy(spec, policy, source),
        lambda: _table(spec),
        examine_ros,
        lambda: _shared_memory(Path("/dev/shm")),
        _wake_ups,
        _limits,
        lambda: examine_camera(device, policy if policy.is_file() else None),
        lambda: _arm(SERIAL_DEVICE),
        lambda: _disk(Path.cwd()),
    ]
    for check in checks:
        yield from check()


def _python() -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 10) <= sys.version_info[:2] <= (3, 12)
    yield Finding(OK if fits else FAIL, f"Python {found}", "" if fits else "use Python 3.10 to 3.12")


def _packages() -> Iterator[Finding]:
    for level, name, remedy in (
        (FAIL, "numpy", "pip install -e ."),
        (FAIL, "onnxruntime", "pip install -e ."),
        (FAIL, "pyzmq", "pip install -e ."),
        (
            WARN,
            "opencv-python-headless",
            "needed for cameras read without a ROS driver: pip install opencv-python-headless",
        ),
        (WARN, "pybullet", "needed for the simulation: pip install -e '.[sim]'"),
    ):
        try:
            yield Finding(OK, f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding(level, f"{name} is not installed", remedy)


def _policy(spec: RobotSpec, path: Path, source: str) -> Iterator[Finding]:
    from mqe_core.policy.bundle import PolicyBundle
    from mqe_core.policy.contract import BundleError
    from mqe_core.runtime.latency import choose_slot, measure
    from mqe_core.runtime.onnx_policy import OnnxPolicy

    if source == SHIPPED and not path.is_file():
        yield Finding(
            WARN,
            "no policy is configured, and none came with this installation",
            "name one: `policy: FILE` in ~/.mqe/config.yaml",
        )
        return
    try:
        policy = OnnxPolicy(PolicyBundle.open(path, spec))
    except BundleError as error:
        yield Finding(FAIL, f"policy {path} ({source})", str(error))
        return
    latency = measure(policy, spec.camera.height_px, spec.camera.width_px)
    slot = choose_slot(latency, spec.control.period_s)
    domain = policy.contract.domain
    p50_ms, slow_ms, slot_ms = 1e3 * latency.p50_s, 1e3 * latency.p99_s, 1e3 * slot.seconds
    took = f"{p50_ms:.1f} ms an action ({latency.slow} {slow_ms:.1f}), slot {slot_ms:.0f} ms"
    yield Finding(WARN if slot.problem else OK, f"policy {path.name} ({source}): {domain} images, {took}", slot.problem)
    if domain == SIM:
        remedy = (
            "only for a real arm: train one on real images, and name it, `policy: FILE` in ~/.mqe/config.yaml "
            "(docs/hardware.md)"
        )
        yield Finding(
            WARN if SERIAL_DEVICE.exists() else OK, "that policy runs in the sim; real cameras refuse it", remedy
        )


def _table(spec: RobotSpec) -> Iterator[Finding]:
    try:
        height = configured_table_height()
        if height is not None:
            with_table_height(spec, height)
    except ValueError as error:
        yield Finding(FAIL, "the table's height in ~/.mqe/config.yaml", str(error))
        return
    if height is not None:
        yield Finding(OK, f"table: {say_table_height(height)}")
        return
    remedy = (
        "only for a real arm, which does not start without: measure, and put `table_height_m: METRES` into "
        "~/.mqe/config.yaml (docs/hardware.md)"
    )
    yield Finding(WARN if SERIAL_DEVICE.exists() else OK, "the height of your table is not known", remedy)


def _shared_memory(folder: Path) -> Iterator[Finding]:
    if not folder.is_dir():
        yield Finding(
            FAIL,
            f"{folder} does not exist",
            "images would go through sockets and be lost; mount a tmpfs there (docker: --shm-size=256m)",
        )
        return
    free_mb = shutil.disk_usage(folder).free / 2**20
    enough = free_mb >= _SHARED_MEMORY_MB
    remedy = (
        "" if enough else f"needs {_SHARED_MEMORY_MB} MB: docker run --shm-size=256m, or clear it (fastdds shm clean)"
    )
    yield Finding(OK if enough else FAIL, f"{folder}: {free_mb:.0f} MB free", remedy)


def _wake_ups() -> Iterator[Finding]:
    """How late a sleep to an absolute deadline ends: what the command interval cannot be better than."""
    late, start = [], time.monotonic()
    for k in range(1, 201):
        deadline = start + 0.005 * k
        while (remaining := deadline - time.monotonic()) > 0:
            time.sleep(remaining)
        late.append(1e3 * (time.monotonic() - deadline))
    p50, p99 = np.percentile(late, (50, 99))
    good = p99 < _WAKE_LATE_MS
    remedy = "" if good else "something else keeps the cores busy; close it, or give the nodes priority (nice, chrt)"
    yield Finding(OK if good else WARN, f"wake-ups {p50:.2f} ms late (p99 {p99:.2f}, {os.cpu_count()} cores)", remedy)


def _limits() -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    allowed = soft != 0 or os.geteuid() == 0
    remedy = (
        ""
        if allowed
        else "only where the interval above is not steady: add `@realtime - rtprio 98` to /etc/security/limits.conf"
    )
    yield Finding(OK, f"real-time priority {'allowed' if allowed else 'not allowed'}", remedy)


def _arm(device: Path) -> Iterator[Finding]:
    driver = importlib.util.find_spec(DRIVER_MODULE) is not None
    remedy = "" if driver else "only for a real arm: docs/hardware.md"
    yield Finding(OK if driver else WARN, f"the arm's driver is {'importable' if driver else 'not installed'}", remedy)
    if not device.exists():
        yield Finding(
            WARN, f"{device} does not exist", "only for a real arm: plug the U2D2 in, install Interbotix's udev rules"
        )
        return
    if not os.access(device, os.R_OK | os.W_OK):
        yield Finding(
            FAIL,
            f"{device} may not be opened",
            "add yourself to its group (sudo usermod -aG dialout $USER) and log in again",
        )
    timer = Path("/sys/bus/usb-serial/devices") / device.resolve().name / "latency_timer"
    if timer.is_file():
        value = int(timer.read_text())
        remedy = (
            ""
            if value <= _LATENCY_TIMER_MS
            else f"echo {_LATENCY_TIMER_MS} | sudo tee {timer}; Interbotix's udev rules do it for good"
        )
        yield Finding(OK if not remedy else WARN, f"{device}: latency timer {value} ms", remedy)


def _disk(folder: Path) -> Iterator[Finding]:
    free_gb = shutil.disk_usage(folder).free / 1e9
    enough = free_gb >= _FREE_GB
    remedy = "" if enough else "record:=true needs room: 1.6 GB a minute at 640x480, 30 Hz"
    yield Finding(OK if enough else WARN, f"disk: {free_gb:.0f} GB free here", remedy)
