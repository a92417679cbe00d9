"""Whether a topic has one publisher: of two, each would be the newest in turn, and the arm would follow both.

ROS lists a topic's publishers, and those of a process that was killed for 10 s after its end (the profiles' lease). So
of several publishers of one node's name all but the newest count as dead for that long: a node that was started again.
Where their messages take turns, they are alive. The middleware numbers each publisher's messages by itself, so taking
turns shows as numbers that do not rise. Not every one tells the numbers (Humble's rclpy does not): there time decides.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from rclpy.node import Node

from mqe_core.files.bounded import shortened

_LISTED_S = 12.0  # the lease, and time to notice its end
_TURNS, _TURNS_WITHIN_S = 3, 5.0  # so many within so long are no restarts
_LOOK_S = 0.1  # a look takes some 50 us
_NAMELESS = "_NODE_NAME_UNKNOWN_"  # rmw's name of a node that it does not know yet, or of what is no node
_NO_NUMBER = 2**64 - 1  # rmw's MESSAGE_INFO_SEQUENCE_NUMBER_UNSUPPORTED
_NAMES_BYTES = 200

Listed = Sequence[tuple[bytes, str]]  # a topic's publishers: id, and full name of the node


class PublisherWatch:
    """What is known of one topic's publishers. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._since: dict[bytes, float] = {}  # by publisher: when it was listed first
        self._number: int | None = None  # of the newest message
        self._turns: tuple[float, ...] = ()  # when it did not rise, the newest last

    def hear(self, number: int | None, now: float) -> None:
        """Note a message's number; None where the middleware does not tell it."""
        if number is None or number == _NO_NUMBER:
            return
        if self._number is not None and number <= self._number:
            self._turns = (*self._turns[1 - _TURNS :], now)
        self._number = number

    def judge(self, listed: Listed, now: float) -> list[str]:
        """The nodes' names of the publishers that count as alive, each as often as it has some."""
        self._since = {publisher: self._since.get(publisher, now) for publisher, _ in listed}
        if len(self._turns) == _TURNS and now - self._turns[0] < _TURNS_WITHIN_S:
            return sorted(name for _, name in listed)
        begins: dict[str, list[float]] = defaultdict(list)
        for publisher, name in listed:
            begins[name].append(self._since[publisher])
        alive = []
        for name, times in begins.items():
            # Each counts as replaced by the next one. What has no name may be about to get it.
            replaced = times if name.endswith(_NAMELESS) else sorted(times)[1:]
            alive += [name] * (len(times) - len(replaced) + sum(now - at > _LISTED_S for at in replaced))
        return sorted(alive)


class OnePublisher:
    """That a topic which a node reads has one publisher.

    Args:
        topic: its name before remapping.
        clock: monotonic seconds.
    """

    def __init__(self, node: Node, topic: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._node, self._topic, self._clock = node, topic, clock
        self._watch = PublisherWatch()
        self._lock = threading.Lock()  # the control thread and the executor ask
        self._looked = -float("inf")
        self._problem = ""
        self.publishers: frozenset[bytes] = frozenset()  # their ids, at the last look

    def hear(self, info: dict) -> None:
        """Note a message by its rclpy message info."""
        self._watch.hear(info.get("publication_sequence_number"), self._clock())

    def problem(self) -> str:
        """Who publishes, where that is more than one; else empty. It looks at most ten times a second."""
        with self._lock:
            if (now := self._clock()) - self._looked >= _LOOK_S:
                self._looked, self._problem = now, self._look(now)
            return self._problem

    def _look(self, now: float) -> str:
        listed = [
            (bytes(info.endpoint_gid), f"{info.node_namespace.rstrip('/')}/{info.node_name}")
            for info in self._node.get_publishers_info_by_topic(self._topic)
        ]
        self.publishers = frozenset(publisher for publisher, _ in listed)
        alive = self._watch.judge(listed, now)
        if len(alive) < 2:
            return ""
        names = ", ".join("what is no node" if name.endswith(_NAMELESS) else name for name in alive)
        return (
            f"{len(alive)} publishers of {self._topic}: {shortened(names, _NAMES_BYTES)}; stop all but one (one that "
            "was killed is listed for 10 s)"
        )
