"""The nodes' executables. A signal while a node still loads its libraries ends it as cleanly as one later.

`python -m mqe_ros.start policy_node --ros-args …` is the same as the installed executable `policy_node`.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys

from mqe_core.interrupts import hear_interrupts
from mqe_ros import transports


def _start(name: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))  # nothing is open yet
    hear_interrupts()
    if transports.shared_memory_is_full():
        sys.stderr.write(f"{name}: {transports.FULL}\n")
    transports.choose(transports.SAFETY if name in ("arm_node", "teleop_node") else transports.IMAGES)
    importlib.import_module(f"mqe_ros.{name}").main()


def policy_node() -> None:
    _start("policy_node")


def arm_node() -> None:
    _start("arm_node")


def camera_node() -> None:
    _start("camera_node")


def record_node() -> None:
    _start("record_node")


def teleop_node() -> None:
    _start("teleop_node")


def console_node() -> None:
    _start("console_node")


if __name__ == "__main__":
    _start(sys.argv[1])
