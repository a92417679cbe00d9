"""One arm per ROS domain: a second one would move by the first one's commands.

The arm's node looks for another one itself. What starts a whole graph looks before that, as camera and policy would already speak into
the other graph while the arm's node still listens.
"""

from __future__ import annotations

import os
import time

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from mqe_core.ros_domain import HIGHEST, ros_domain
from mqe_ros import topics

_LISTEN_S = 1.0  # discovery, and a few periods of its status


def require_no_graph() -> None:
    """`require_only_arm` in a program that is no ROS node. ValueError also where its ROS domain is none."""
    ros_domain()
    context = Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    try:
        require_only_arm(context)
    finally:
        rclpy.shutdown(context=context)


def require_only_arm(context: Context | None = None) -> None:
    """Listen for an arm's status for a second, before there is one of this process. ValueError where one is heard.

    Only what speaks counts: a node that was killed is listed for a while.
    """
    heard: list[object] = []
    # A node of its own, as the arm's is not complete yet; and of its own name: destroyed as a second arm_node it would silence the first on /rosout.
    name = ["--ros-args", "-r", "__node:=arm_listener"]
    node = rclpy.create_node("arm_listener", context=context, cli_args=name, start_parameter_services=False)
    node.create_subscription(topics.ARM_STATUS.type, topics.ARM_STATUS.name, heard.append, topics.ARM_STATUS.qos)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    end = time.monotonic() + _LISTEN_S
    try:
        while not heard and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()
        node.destroy_node()
    if heard:
        raise ValueError(
            f"another arm_node runs in ROS domain {os.environ.get('ROS_DOMAIN_ID', '0')}, and both would follow every command: "
            f"stop it, or give this graph a ROS_DOMAIN_ID of its own (0 to {HIGHEST})"
        )
