"""A subscription that takes what the publisher offers: reliable delivery, else best effort.

A publisher and a subscription that disagree are never connected, and nothing but an event says so. Many camera drivers
offer best effort only. Best effort from the start would lose large images of publishers that offer reliable delivery.
So would changing to it while such a publisher is there.
"""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from mqe_ros import topics
from mqe_ros.running import STEADY

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble's name of it
    from rclpy.qos_event import SubscriptionEventCallbacks

_LOOK_S = 0.2


class AdaptiveSubscription:
    """Calls `callback` for each message; with `raw` with its bytes. The node's executor does the adapting."""

    def __init__(self, node: Node, topic: topics.Topic, callback: Callable, *, raw: bool = False) -> None:
        self._node, self._topic, self._callback, self._raw = node, topic, callback, raw
        self._incompatible = False
        self._subscription = self._subscribe(topic.qos)
        self._timer = node.create_timer(_LOOK_S, self._adapt, clock=STEADY)

    def _subscribe(self, qos: QoSProfile):
        events = SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible)
        return self._node.create_subscription(
            self._topic.type, self._topic.name, self._callback, qos, event_callbacks=events, raw=self._raw
        )

    def _on_incompatible(self, _: object) -> None:
        self._incompatible = True  # `_adapt` subscribes anew: not within the old subscription's own event

    def _adapt(self) -> None:
        if not self._incompatible:
            return
        # Beside one that offers more, such a publisher is not read: the large images of the other would be lost.
        offered = [info.qos_profile.reliability for info in self._node.get_publishers_info_by_topic(self._topic.name)]
        if not offered or ReliabilityPolicy.RELIABLE in offered:
            return
        self._timer.cancel()
        self._node.get_logger().warning(
            f"the publisher of {self._topic.name} offers best effort only: reading it that way; large messages "
            "may be lost"
        )
        self._node.destroy_subscription(self._subscription)
        self._subscription = self._subscribe(topics.NEWEST_BEST_EFFORT)
