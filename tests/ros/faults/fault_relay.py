"""A bad line between policy and arm: /relay/in to /policy/command, python fault_relay.py [--ros-args …]

A text on /fault_relay/mode changes it: ok, drop_10, drop_50, drop_all, delay (each 300 ms late), reorder (each pair
swapped), duplicate (each twice, 120 ms apart), replay (an old one again after each). What it did to the line since then
is published as JSON on /fault_relay/counts after each command: the mode, commands heard and sent, and of those sent how
many late, swapped or again.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

from std_msgs.msg import String

from mqe_interfaces.msg import EndEffectorCommand

sys.path.insert(0, str(Path(__file__).parents[3]))  # it runs as a process of its own
from tests.ros.fake_process import run  # noqa: E402

DELAY_S, AGAIN_S = 0.3, 0.12
OLD = 10  # commands
_SEED = 3  # of which are dropped: 4 and 13 of the first 30


class FaultRelay:
    def __init__(self, node) -> None:
        self._mode = "ok"
        self._random = random.Random()
        self._counts: Counter[str] = Counter()
        self._waiting: list[tuple[float, EndEffectorCommand, str]] = []  # when to send what, and what is wrong with it
        self._past: list[EndEffectorCommand] = []
        self._first: EndEffectorCommand | None = None
        self._out = node.create_publisher(EndEffectorCommand, "/policy/command", 1)
        self._told = node.create_publisher(String, "/fault_relay/counts", 10)
        node.create_subscription(String, "/fault_relay/mode", self._set, 10)
        node.create_subscription(EndEffectorCommand, "/relay/in", self._relay, 10)
        node.create_timer(0.01, self._send)

    def _set(self, message: String) -> None:
        self._mode, self._first = message.data, None
        self._random.seed(_SEED)
        self._counts.clear()

    def _relay(self, message: EndEffectorCommand) -> None:
        now = time.monotonic()
        self._counts["heard"] += 1
        self._past = [*self._past[-OLD:], message]
        if self._mode.startswith("drop_"):
            share = {"drop_10": 0.1, "drop_50": 0.5, "drop_all": 1.0}[self._mode]
            if self._random.random() < share:
                self._tell()
                return
        if self._mode == "delay":
            self._waiting.append((now + DELAY_S, message, "late"))
        elif self._mode == "reorder" and self._first is None:
            self._first = message
        elif self._mode == "reorder":
            self._waiting += [(now, message, ""), (now + AGAIN_S, self._first, "swapped")]
            self._first = None
        elif self._mode == "duplicate":
            self._waiting += [(now, message, ""), (now + AGAIN_S, message, "again")]
        elif self._mode == "replay":
            self._waiting += [(now, message, ""), (now + AGAIN_S, self._past[0], "again")]
        else:
            self._waiting.append((now, message, ""))
        self._send()

    def _send(self) -> None:
        now = time.monotonic()
        due = [(message, fault) for when, message, fault in self._waiting if when <= now]
        self._waiting = [entry for entry in self._waiting if entry[0] > now]
        for message, fault in due:
            self._out.publish(message)
            self._counts.update(["sent", *([fault] if fault else [])])
            self._tell()

    def _tell(self) -> None:
        self._told.publish(String(data=json.dumps({"mode": self._mode, **self._counts})))


if __name__ == "__main__":
    run(FaultRelay, "fault_relay", args=sys.argv)
