"""Stands in for usb_cam_node_exe and realsense2_camera_node: their default names, topics and parameters, no camera.

Unlike them it offers best effort only, the harder case. A parameter that makes no sense to the real one ends it.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image


def main() -> None:
    rclpy.init()
    if Path(sys.argv[0]).name == "usb_cam_node_exe":
        node, topic = Node("usb_cam"), "image_raw"
        assert Path(node.declare_parameter("video_device", "").value).exists()
        assert node.declare_parameter("pixel_format", "yuyv").value == "yuyv2rgb"
        width, height = node.declare_parameter("image_width", 0).value, node.declare_parameter("image_height", 0).value
        hz, frame = node.declare_parameter("framerate", 0.0).value, node.declare_parameter("frame_id", "").value
    else:
        node, topic = Node("camera", namespace="/camera"), "~/color/image_raw"
        assert node.declare_parameter("serial_no", "").value == "0123"  # a text, though it looks like a number
        assert node.declare_parameter("rgb_camera.color_format", "").value == "RGB8"
        assert not node.declare_parameter("enable_depth", True).value
        profile = node.declare_parameter("rgb_camera.color_profile", "").value
        width, height, hz = (int(number) for number in profile.split("x"))
        frame = node.declare_parameter("camera_name", "").value + "_color_optical_frame"
    pixels = random.Random(0).randbytes(3 * width * height)  # neither one even colour nor the same again and again
    image = Image(height=height, width=width, encoding="rgb8", step=3 * width, data=pixels)
    image.header.frame_id = frame
    publisher = node.create_publisher(Image, topic, QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT))

    def publish() -> None:
        image.data = image.data[3:] + image.data[:3]
        image.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(image)

    node.create_timer(1.0 / hz, publish)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass


if __name__ == "__main__":
    main()
