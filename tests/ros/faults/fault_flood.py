"""A program that asks for a hold again and again: python fault_flood.py HERTZ SECONDS. In the end it prints how often
it asked, and how many answers came.
"""

from __future__ import annotations

import sys
import time

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger

LAST_ANSWERS_S = 10.0


def main(hertz: float, seconds: float) -> None:
    rclpy.init()
    node = rclpy.create_node("flood")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    client = node.create_client(Trigger, "/arm/hold", qos_profile=QoSProfile(depth=1000))
    client.wait_for_service()
    begin, asked = time.monotonic(), []
    while (passed := time.monotonic() - begin) < seconds:
        asked += [client.call_async(Trigger.Request()) for _ in range(int(hertz * passed) - len(asked))]
        executor.spin_once(timeout_sec=0.001)
    while not all(future.done() for future in asked) and time.monotonic() - begin < seconds + LAST_ANSWERS_S:
        executor.spin_once(timeout_sec=0.01)
    print(len(asked), sum(future.done() for future in asked))


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]))
