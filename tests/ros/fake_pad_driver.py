"""Stands in for joy's game_controller_node: its name, topic and messages, no pad. Its dead-man is pressed and let go
again and again: one that was lost for a moment on a busy machine must be seen released.
"""

from __future__ import annotations

import time

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import Joy

AXES, BUTTONS, RIGHT_SHOULDER = 6, 21, 10
REST_S, PRESSED_S = 0.5, 2.0


def main() -> None:
    rclpy.init()
    node = Node("game_controller_node")
    publisher = node.create_publisher(Joy, "joy", 10)

    def publish() -> None:
        buttons = [0] * BUTTONS
        buttons[RIGHT_SHOULDER] = int(time.monotonic() % (REST_S + PRESSED_S) > REST_S)
        publisher.publish(Joy(axes=[0.0] * AXES, buttons=buttons))

    node.create_timer(0.05, publish)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass


if __name__ == "__main__":
    main()
