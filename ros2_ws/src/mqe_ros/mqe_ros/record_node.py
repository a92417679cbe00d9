"""The recorder: every topic of the graph into one MCAP bag, as the bytes that came.

Parameter: `folder` (required, must not exist yet). MCAP, because what was written stays readable when the
    process is killed.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from diagnostic_msgs.msg import DiagnosticStatus
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mqe_ros import topics
from mqe_ros.running import ControlNode, parameter, run_node

_OWN_MESSAGES = ("ArmStatus", "EndEffectorCommand", "PolicyStatus")


def own_typestore():
    """The types of ROS 2 Jazzy and ours, for writing and reading bags."""
    store = get_typestore(Stores.ROS2_JAZZY)
    folder = Path(get_package_share_directory("mqe_interfaces")) / "msg"
    for name in _OWN_MESSAGES:
        store.register(
            get_types_from_msg(
                (folder / f"{name}.msg").read_text(encoding="utf-8"), f"mqe_interfaces/msg/{name}"
            )
        )
    return store


def type_name(message_type: type) -> str:
    """`sensor_msgs/msg/Image` for the class of that message."""
    package, _, _ = message_type.__module__.split(".")[:3]
    return f"{package}/msg/{message_type.__name__}"


class RecordNode(ControlNode):
    """Callbacks write at once; messages are not decoded."""

    def __init__(self) -> None:
        super().__init__("record_node")
        folder = Path(parameter(self, "folder", str))
        if folder.exists():
            raise ValueError(f"{folder} exists already; name a new folder to record into")
        folder.parent.mkdir(parents=True, exist_ok=True)
        types = own_typestore()
        self._writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._lock = threading.Lock()
        self._open = True
        self.counts = {topic.name: 0 for topic in topics.RECORDED}
        for topic in topics.RECORDED:
            connection = self._writer.add_connection(topic.name, type_name(topic.type), typestore=types)
            self.create_subscription(topic.type, topic.name, self._write_to(connection), topic.qos, raw=True)
        self.get_logger().info(f"recording to {folder}")

    def control(self) -> None:
        """Nothing to do: writing happens as messages come."""

    def stop(self) -> None:
        super().stop()
        with self._lock:
            if self._open:
                self._open = False
                self._writer.close()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        return DiagnosticStatus.OK, "recording", dict(self.counts)

    def _write_to(self, connection):
        def write(message: bytes) -> None:
            with self._lock:
                if self._open:
                    # Wall time: bags are read beside other records.
                    self._writer.write(connection, time.time_ns(), message)
                    self.counts[connection.topic] += 1

        return write


def main() -> None:
    sys.exit(run_node(RecordNode))


if __name__ == "__main__":
    main()
