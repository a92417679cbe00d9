"""One arm per ROS domain: a second one would move by the first one's commands.

On one machine a lock tells, also of an arm that is stopped. Of other machines only what is heard does. The arm's node
looks for another one itself. What starts a whole graph looks before that, as camera and policy would
already speak into the other graph while the arm's node still listens.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from mqe_core.ros_domain import HIGHEST, require_discovery, ros_domain
from mqe_core.runtime.arm_lock import ArmLock, require_free
from mqe_ros import topics
from mqe_ros.transports import NO_LOG_FILE, SAFETY, chosen

_LISTEN_S = 1.0  # discovery, and a few periods of its status
_LISTED_S = 12.0  # a node that was killed is listed for 10 s (the profiles' lease)


def require_no_graph(tell: Callable[[str], None]) -> None:
    """`require_only_arm` in a program that is no ROS node. ValueError also where its ROS domain is none.

    An arm that is listed and silent counts as well, once it cannot be one that was killed. `tell` hears of the wait.
    """
    require_free(ros_domain())
    require_discovery()
    context = Context()
    with chosen(SAFETY):
        rclpy.init(args=NO_LOG_FILE, context=context, signal_handler_options=SignalHandlerOptions.NO)
        try:
            if require_only_arm(context) and _stays_listed(context, tell):
                raise ValueError(
                    f"another arm_node is listed in ROS domain {ros_domain()}, and nothing that it says arrives here: "
                    "it hangs, or it speaks by a transport that this process cannot use. Stop it, or give this graph "
                    f"a ROS_DOMAIN_ID of its own (0 to {HIGHEST})"
                )
        finally:
            rclpy.shutdown(context=context)


def _stays_listed(context: Context, tell: Callable[[str], None]) -> bool:
    tell("an arm_node is listed in this ROS domain and says nothing; waiting until it speaks, or is gone")
    end = time.monotonic() + _LISTED_S
    while time.monotonic() < end:
        if not require_only_arm(context):
            return False
    return True


def become_only_arm(warn: Callable[[str], object]) -> ArmLock:
    """What an arm's node does first: take the lock, and listen. ValueError where there is another one.

    `warn` hears of what may be one and does not say so. The caller keeps the lock while it may move the arm.
    """
    require_discovery()
    lock = ArmLock(ros_domain())
    if lock.problem:
        warn(f"no lock keeps a second arm_node of this machine out ({lock.problem}); only one that is heard is refused")
    if require_only_arm():
        warn(
            "another arm_node is listed here and says nothing: it was killed within the last 10 s, it hangs, or "
            "what it says does not arrive. Two arms would follow every command"
        )
    return lock


def require_only_arm(context: Context | None = None) -> bool:
    """Listen for an arm's status for a second, before there is one of this process. ValueError where one is heard.

    Returns whether one is listed though it says nothing: it was killed a moment ago, hangs, or does not get through.
    """
    heard: list[object] = []
    # A node of its own, as the arm's is not complete yet; and of its own name: destroyed as a second arm_node it would
    # silence the first on /rosout.
    name = ["--ros-args", "-r", "__node:=arm_listener"]
    node = rclpy.create_node("arm_listener", context=context, cli_args=name, start_parameter_services=False)
    node.create_subscription(topics.ARM_STATUS.type, topics.ARM_STATUS.name, heard.append, topics.ARM_STATUS.qos)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    end = time.monotonic() + _LISTEN_S
    try:
        while not heard and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
        is_listed = node.count_publishers(topics.ARM_STATUS.name) > 0
    finally:
        executor.shutdown()
        node.destroy_node()
    if heard:
        raise ValueError(
            f"another arm_node runs in ROS domain {ros_domain()}, and both would follow every command: "
            f"stop it, or give this graph a ROS_DOMAIN_ID of its own (0 to {HIGHEST})"
        )
    return is_listed
