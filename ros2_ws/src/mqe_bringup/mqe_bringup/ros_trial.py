"""Tries ROS as the nodes use it, for `mqe doctor`: a line on stdout for each thing that worked, then exit code 0.

1. A node starts, with the RMW in force.
2. An image reaches another process, as a camera's would, and an arm's status comes back.

In a domain in which nobody on this machine speaks.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from mqe_core.ros_domain import HIGHEST
from mqe_ros import transports

_PATIENCE_S = 8.0
_IMAGE, _ANSWER = "/mqe_doctor/image", "/mqe_doctor/answer"


def free_domain() -> int:
    """The highest ROS domain whose UDP ports nobody on this machine has opened."""
    ports = set()
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        lines = Path(table).read_text().splitlines()[1:] if Path(table).exists() else []
        ports |= {int(line.split()[1].rpartition(":")[2], 16) for line in lines}
    for domain in range(HIGHEST, -1, -1):
        first = 7400 + 250 * domain  # RTPS, 9.6.1.1
        if ports.isdisjoint(range(first, first + 250)):
            return domain
    sys.exit("somebody speaks in each of the ROS domains")


def ask() -> None:
    """Send images until a status comes back."""
    os.environ["ROS_DOMAIN_ID"] = str(free_domain())
    transports.choose(transports.IMAGES)
    import rclpy
    from sensor_msgs.msg import Image

    from mqe_interfaces.msg import ArmStatus

    rclpy.init(args=transports.NO_LOG_FILE)
    node = rclpy.create_node("mqe_doctor", enable_rosout=False, start_parameter_services=False)
    _say(rclpy.get_rmw_implementation_identifier())
    answers: list[ArmStatus] = []
    node.create_subscription(ArmStatus, _ANSWER, answers.append, 10)
    images = node.create_publisher(Image, _IMAGE, 1)
    picture = Image(height=480, width=640, encoding="rgb8", step=3 * 640)
    picture.data.frombytes(bytes(3 * 640 * 480))
    other = subprocess.Popen([sys.executable, "-m", "mqe_bringup.ros_trial", "answer"])
    try:
        end, begun = time.monotonic() + _PATIENCE_S, time.monotonic()
        while not answers:
            if time.monotonic() > end:
                sys.exit(f"nothing came back within {_PATIENCE_S:.0f} s")
            if images.get_subscription_count() > 0:
                begun = time.monotonic()
                images.publish(picture)
            rclpy.spin_once(node, timeout_sec=0.2)
        _say(f"an image of 640x480 there and a status back in {1e3 * (time.monotonic() - begun):.0f} ms")
    finally:
        other.kill()
        rclpy.try_shutdown()


def answer() -> None:
    """Answer each image with a status, until this process is ended."""
    import rclpy
    from sensor_msgs.msg import Image

    from mqe_interfaces.msg import ArmStatus

    rclpy.init(args=transports.NO_LOG_FILE)
    node = rclpy.create_node("mqe_doctor_other", enable_rosout=False, start_parameter_services=False)
    answers = node.create_publisher(ArmStatus, _ANSWER, 10)
    node.create_subscription(Image, _IMAGE, lambda image: answers.publish(ArmStatus(state="heard")), 1)
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.2)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    answer() if sys.argv[1:] == ["answer"] else ask()
