"""What a machine must have to drive an arm, checked one by one: `mqe doctor`.

A check looks, changes nothing, and says what to do. FAIL: the graph will not start or not be safe; WARN: it will, but worse than it could, or
something only some need is missing.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from mqe_core.ros_domain import ros_domain
from mqe_core.spec import RobotSpec, say_table_height, with_table_height
from mqe_core.user_files import SHIPPED, configured_table_height

SERIAL_DEVICE = Path("/dev/ttyDXL")  # the udev name of the arm's U2D2 in the Interbotix installation
DRIVER_MODULE = "interbotix_xs_modules"

OK, WARN, FAIL = "ok", "warn", "FAIL"
_SHARED_MEMORY_MB = 64  # a participant of the shipped Fast DDS profile takes 8 MB; there are half a dozen
_WAKE_LATE_MS = 2.0  # what the arm's command interval may deviate (docs/interfaces.md)
_FREE_GB = 5.0  # a recording of 640x480 at 30 Hz takes 1.6 GB a minute
_LATENCY_TIMER_MS = 1  # of the arm's USB adapter; 16, the kernel's default, slows every joint state down


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    level: str
    what: str
    remedy: str = ""


def examine(spec: RobotSpec, policy: Path, source: str, device: str | None) -> Iterator[Finding]:
    """All checks, in order.

    Args:
        policy: bundle to open and time.
        source: who named it (user_files.policy_in_use).
        device: camera to read for two seconds; None: only look for one.
    """
    checks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        _packages,
        lambda: _policy(spec, policy, source),
        lambda: _table(spec),
        _ros,
        lambda: _shared_memory(Path("/dev/shm")),
        _wake_ups,
        _limits,
        lambda: _camera(device),
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
    from mqe_core.bundle import PolicyBundle
    from mqe_core.bundle_contract import BundleError
    from mqe_core.runtime.policy import OnnxPolicy

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
    image = np.zeros((480, 640, 3), np.uint8)
    times = []
    for _ in range(50):
        began = time.perf_counter()
        policy.act(image, image)
        times.append(1e3 * (time.perf_counter() - began))
    p50, p99 = np.percentile(times, (50, 99))
    budget_ms = 500 * spec.control.period_s
    level = OK if p99 < budget_ms else FAIL
    remedy = (
        ""
        if level == OK
        else f"more than half a control period ({budget_ms:.0f} ms): a smaller policy, a faster machine, or mqe serve on one"
    )
    domain = policy.contract.domain
    yield Finding(
        level, f"policy {path.name} ({source}): {domain} images, {p50:.1f} ms an action (p99 {p99:.1f})", remedy
    )
    if domain == "sim":
        remedy = "only for a real arm: train one on real images, and name it, `policy: FILE` in ~/.mqe/config.yaml (docs/hardware.md)"
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
    remedy = "only for a real arm, which does not start without: measure, and put `table_height_m: METRES` into ~/.mqe/config.yaml (docs/hardware.md)"
    yield Finding(WARN if SERIAL_DEVICE.exists() else OK, "the height of your table is not known", remedy)


def _ros() -> Iterator[Finding]:
    there = importlib.util.find_spec("rclpy") is not None
    remedy = "" if there else "needed for the ROS graph: make setup, or source your ROS installation"
    yield Finding(OK if there else WARN, f"rclpy {'found' if there else 'is not importable here'}", remedy)
    # `mqe up` finds the workspace of a checkout without sourcing it.
    built = (Path(__file__).resolve().parents[1] / "ros2_ws" / "install" / "setup.bash").is_file()
    there = built or importlib.util.find_spec("mqe_bringup") is not None
    remedy = "" if there else "build it: make setup, or colcon build in ros2_ws"
    yield Finding(OK if there else WARN, f"the ROS workspace is {'built' if there else 'not built'}", remedy)
    chosen = os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    fast = chosen == "rmw_fastrtps_cpp"
    remedy = (
        ""
        if fast
        else "the images' profile is for Fast DDS only; unset RMW_IMPLEMENTATION, or look after large messages yourself"
    )
    yield Finding(OK if fast else WARN, f"RMW {chosen}", remedy)
    try:
        ros_domain()
    except ValueError as error:
        yield Finding(FAIL, "the ROS domain is none", str(error))
        return
    domain = os.environ.get("ROS_DOMAIN_ID")
    local = (
        os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE") in ("LOCALHOST", "OFF")
        or os.environ.get("ROS_LOCALHOST_ONLY") == "1"
    )
    alone = domain is not None or local
    remedy = (
        ""
        if alone
        else "on a shared network another graph can command this arm: set ROS_DOMAIN_ID, or ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST"
    )
    yield Finding(
        OK if alone else WARN, f"ROS domain {domain or '0 (default)'}{', this machine only' if local else ''}", remedy
    )


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


def _camera(device: str | None) -> Iterator[Finding]:
    if device is None:
        found = sorted(path.name for path in Path("/dev").glob("video*"))
        yield Finding(
            OK if found else WARN,
            f"cameras: {', '.join(found) or 'no /dev/video*'}",
            "" if found else "needed for a real arm; plug it in",
        )
        return
    try:
        import cv2
    except ImportError:
        yield Finding(FAIL, f"camera {device} cannot be read: no OpenCV", "pip install opencv-python-headless")
        return
    capture = cv2.VideoCapture(int(device) if device.isdigit() else device)
    frames, began = 0, time.monotonic()
    while capture.isOpened() and time.monotonic() - began < 2.0 and capture.read()[0]:
        frames += 1
    capture.release()
    rate = frames / (time.monotonic() - began)
    if frames == 0:
        yield Finding(
            FAIL,
            f"camera {device} gives no image",
            "is it plugged in, used by another program, and are you in the group video?",
        )
    else:
        remedy = "" if rate >= 5 else "less than one per command: more light, fewer pixels"
        yield Finding(FAIL if remedy else OK, f"camera {device}: {rate:.0f} images/s", remedy)


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
