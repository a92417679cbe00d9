"""How the suite's own fakes run as processes: one node, until SIGTERM (exit code 0) or a harder signal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions


def run(build: Callable[[Node], object], name: str, namespace: str = "", args: list[str] | None = None) -> None:
    """`build` puts the fake on the node; what it returns lives as long as the process. `args`: ROS arguments."""
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    node = rclpy.create_node(name, namespace=namespace)
    fake = build(node)  # noqa: F841 (kept alive)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while True:
            executor.spin_once(timeout_sec=0.1)
    finally:
        rclpy.try_shutdown()
