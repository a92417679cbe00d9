"""The recorder: every topic of the graph into one MCAP bag, as the bytes that came.

It also keeps the book of the episodes that an operator marks. Its parameters are `parameters.RECORD_NODE`. MCAP,
because what was written stays readable when the process is killed.
Missing images are told in /diagnostics and in the log: a recording without them trains and replays nothing.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.serialization import serialize_message
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mqe_core import ros_names
from mqe_core.files.bag_folders import require_new
from mqe_core.robot.episode_marks import EpisodeBook
from mqe_interfaces.srv import MarkEpisode
from mqe_ros import convert, topics
from mqe_ros.adaptive_subscription import AdaptiveSubscription
from mqe_ros.bag_writer import BagWriter
from mqe_ros.parameters import RECORD_NODE
from mqe_ros.running import ControlNode, run_node

_SILENCE_S = 2.0  # no image for so long is worth a warning
_OWN_MESSAGES = ("ArmStatus", "EndEffectorCommand", "EpisodeStatus", "PolicyStatus")


def own_typestore():
    """The types of ROS 2 Jazzy and ours, for writing and reading bags."""
    store = get_typestore(Stores.ROS2_JAZZY)
    folder = Path(get_package_share_directory("mqe_interfaces")) / "msg"
    for name in _OWN_MESSAGES:
        store.register(
            get_types_from_msg((folder / f"{name}.msg").read_text(encoding="utf-8"), f"mqe_interfaces/msg/{name}")
        )
    return store


def type_name(message_type: type) -> str:
    """`sensor_msgs/msg/Image` for the class of that message."""
    package, _, _ = message_type.__module__.split(".")[:3]
    return f"{package}/msg/{message_type.__name__}"


class RecordNode(ControlNode):
    """Callbacks write at once; messages are not decoded."""

    def __init__(self) -> None:
        super().__init__("record_node", RECORD_NODE)
        folder = Path(self.value_of("folder"))
        require_new(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        max_bytes = 2**20 * self.value_of("max_bag_mb")
        # A command names the bytes of its image, so those are recorded which the policy node reads.
        self._image_topic = topics.COMPRESSED_IMAGE if self.value_of("compressed") else topics.IMAGE
        others = [topic for topic in topics.RECORDED if topic is not topics.IMAGE]
        written = (self._image_topic, *others, topics.EPISODE_STATUS)
        kinds = [(topic.name, type_name(topic.type)) for topic in written]
        self._bags = BagWriter(folder, kinds, own_typestore(), max_bytes, latched=[topics.GOAL_IMAGE.name])
        self._image_came = time.monotonic()
        self._image = AdaptiveSubscription(self, self._image_topic, self._on_image, raw=True)
        for topic in others:
            self.create_subscription(topic.type, topic.name, self._write_to(topic.name), topic.qos, raw=True)
        self._book = EpisodeBook()
        self._answered: tuple[int, str] | None = None  # the newest mark's id, and what was said to it
        self._episode_status = self.publish_on(topics.EPISODE_STATUS)
        self.create_service(MarkEpisode, ros_names.MARK_EPISODE, self._on_mark)
        self._tell_episodes("")
        self.get_logger().info(f"recording to {folder}")

    def control(self) -> None:
        """Nothing to do: writing happens as messages come."""

    def stop(self) -> None:
        super().stop()
        self._bags.close()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        self._bags.check()
        counts: dict[str, object] = {**self._bags.counts, "episodes": self._book.kept}
        silent = time.monotonic() - self._image_came
        if self._bags.failure:
            return DiagnosticStatus.ERROR, self._bags.failure, counts
        if silent > _SILENCE_S:
            missing = f"no image on {self._image_topic.name} for {silent:.0f} s; recording the rest"
            self.get_logger().warning(missing, throttle_duration_sec=10.0)
            return DiagnosticStatus.WARN, missing, counts
        return DiagnosticStatus.OK, "recording", counts

    def _on_mark(self, request: MarkEpisode.Request, response: MarkEpisode.Response) -> MarkEpisode.Response:
        """Asked again under the same id, it is answered again: an answer may get lost on its way."""
        if self._answered is not None and self._answered[0] == request.id:
            response.success, response.message = True, self._answered[1]
            return response
        try:
            if self._bags.failure:
                raise ValueError(self._bags.failure)
            said = self._book.mark(request.mark, request.label, time.monotonic())
        except ValueError as error:
            response.success, response.message = False, str(error)
            return response
        self._answered = request.id, said
        self._tell_episodes(request.mark)
        self.get_logger().info(said)
        response.success, response.message = True, said
        return response

    def _tell_episodes(self, mark: str) -> None:
        """To whoever shows them, and into the recording."""
        status = convert.episode_status(self._book, mark, self.now_message())
        self._bags.write(topics.EPISODE_STATUS.name, time.time_ns(), serialize_message(status))
        self._episode_status.publish(status)

    def _on_image(self, message: bytes) -> None:
        self._image_came = time.monotonic()
        self._bags.write(self._image_topic.name, time.time_ns(), message)

    def _write_to(self, topic: str):
        # Wall time: bags are read beside other records.
        return lambda message: self._bags.write(topic, time.time_ns(), message)


def main() -> None:
    sys.exit(run_node(RecordNode))


if __name__ == "__main__":
    main()
