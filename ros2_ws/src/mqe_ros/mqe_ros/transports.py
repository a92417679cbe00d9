"""Which way this process's messages go: images by shared memory, what holds the arm by UDP.

Fast DDS finds its partners by UDP, and then sends by shared memory where both sides speak it. That fails without a word
between two users of a machine, out of a container with its own /dev/shm, and once the files there were removed. One
side that speaks UDP only is enough for both to do so. So `arm_node` and all that asks it speak UDP only.

A process chooses before it calls `rclpy.init`, whoever started it. A profile of the user's own stays in force; only
shared memory is taken out of it where it must be.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

from mqe_core.files.bounded import TEXT_BYTES, read_bounded
from mqe_ros.transport_profile import on_this_machine, udp_only

VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
IMAGES = "fastdds.xml"  # shared memory, for whoever publishes or reads images; and UDP
SAFETY = "fastdds_udp.xml"  # UDP only
# For rclpy.init where a question must not depend on a disk: it ends where it cannot write its log.
NO_LOG_FILE = ["--ros-args", "--disable-external-lib-logs"]

_RANGE, _LOCAL, _PEERS = "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS"
_SHARED_MEMORY, _LEAST_PAGES = "/dev/shm", 4
FULL = f"{_SHARED_MEMORY} is full, and ROS may end by that without a word (bus error); clear it (fastdds shm clean)"
_files: list[object] = []  # kept open as long as this process runs


def profile(name: str) -> Path:
    """Where IMAGES or SAFETY lies."""
    return Path(get_package_share_directory("mqe_ros")) / "config" / name


def choose(name: str) -> None:
    """Put IMAGES or SAFETY in force in this process, before its first participant.

    A profile that the user named in VARIABLE stays, but for shared memory under SAFETY.
    """
    own = _users_own()
    if name == IMAGES:
        if own is None:
            os.environ[VARIABLE] = str(profile(IMAGES))
        return
    ours = profile(SAFETY).read_bytes()
    text = ours if own is None else udp_only(own, ours)
    if os.environ.get(_RANGE) == "LOCALHOST" or os.environ.get(_LOCAL) == "1":
        text = on_this_machine(text, filter(None, os.environ.get(_PEERS, "").split(";")))
        os.environ[_RANGE] = "SYSTEM_DEFAULT"  # as the profile says
        os.environ.pop(_LOCAL, None)
    os.environ[VARIABLE] = str(profile(SAFETY)) if text == ours else _written(text)


@contextmanager
def chosen(name: str) -> Iterator[None]:
    """`choose`, undone at the end: for a process that starts others."""
    before = {variable: os.environ.get(variable) for variable in (VARIABLE, _RANGE, _LOCAL)}
    choose(name)
    try:
        yield
    finally:
        for variable, value in before.items():
            if value is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = value


def speaks_shared_memory() -> bool:
    """Whether this process has opened Fast DDS's shared memory. Ask when its first node is built."""
    return "/fastrtps_" in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")


def shared_memory_is_full() -> bool:
    """Whether a process that loads ROS now may end by a bus error, without a word: ROS is built with LTTng, which puts
    a page there.
    """
    try:
        return os.statvfs(_SHARED_MEMORY).f_bavail < _LEAST_PAGES
    except OSError:
        return False


def spare_full_shared_memory() -> None:
    """Before ROS is loaded: let it go without that page, where there is none left. Then this process writes no file at
    all, which is for one that asks a question and ends.
    """
    if shared_memory_is_full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _users_own() -> bytes | None:
    """The profile that the user named in VARIABLE. None where it is one of ours, cannot be read, or none is named."""
    try:
        text = read_bounded(Path(os.environ.get(VARIABLE) or "/"), TEXT_BYTES)
    except (OSError, ValueError):
        return None
    return None if any(text == profile(name).read_bytes() for name in (IMAGES, SAFETY)) else text


def _written(text: bytes) -> str:
    """The path of a file that holds it until this process ends. SAFETY's where no file can be written."""
    try:
        file = tempfile.NamedTemporaryFile(prefix="mqe_fastdds_", suffix=".xml")  # noqa: SIM115 (it goes when closed)
        file.write(text)
        file.flush()
    except OSError:
        return str(profile(SAFETY))
    _files.append(file)
    return file.name
