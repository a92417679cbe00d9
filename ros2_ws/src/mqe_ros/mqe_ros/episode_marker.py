"""Marks a recording's episodes for whoever has buttons: a pad's node, a terminal."""

from __future__ import annotations

import secrets

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from mqe_core import ros_names
from mqe_core.robot.episode_marks import START, STOP
from mqe_interfaces.msg import EpisodeStatus
from mqe_interfaces.srv import MarkEpisode
from mqe_ros import topics
from mqe_ros.asking import ANSWERED

_RECORDER = "record_node:"


def recording_failure(diagnostics: DiagnosticArray) -> str:
    """What ended the recording, in record_node's words; empty where nothing did, or another node speaks."""
    for status in diagnostics.status:
        if status.name.startswith(_RECORDER) and status.level == DiagnosticStatus.ERROR:
            return str(status.message)
    return ""


class EpisodeMarker:
    """Asks the recorder without waiting for it: what it answers is said in the node's log, and what ends it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._is_open, self._failure = False, ""
        status = topics.EPISODE_STATUS
        node.create_subscription(status.type, status.name, self._hear, status.qos)
        diagnostics = topics.DIAGNOSTICS
        node.create_subscription(diagnostics.type, diagnostics.name, self._hear_diagnostics, diagnostics.qos)
        self._client = node.create_client(MarkEpisode, ros_names.MARK_EPISODE, qos_profile=ANSWERED)

    def begin_or_end(self) -> None:
        """One button for both: by what the recorder said last."""
        self.mark(STOP if self._is_open else START)

    def mark(self, mark: str) -> None:
        log = self._node.get_logger()
        if not self._client.service_is_ready():
            log.warning(f"no episode is marked ({mark}): nothing records (mqe up record:=true)")
            return
        asked = self._client.call_async(MarkEpisode.Request(id=secrets.randbits(64), mark=mark))
        asked.add_done_callback(lambda done: log.info(done.result().message))

    def _hear(self, status: EpisodeStatus) -> None:
        self._is_open = status.open

    def _hear_diagnostics(self, diagnostics: DiagnosticArray) -> None:
        failure = recording_failure(diagnostics)
        if failure and failure != self._failure:
            self._failure = failure
            self._node.get_logger().error(failure)
