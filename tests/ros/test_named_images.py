"""Promise: each command in a recording names the very image that it was computed from, whatever the camera stamps.

The policy node and the recorder, with this process as arm and as a camera that never sets its stamp.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from mqe_bringup.process import Process
from mqe_bringup.supervisor import Supervisor
from mqe_core.data.readers.bag_messages import NewestImages, bag_files
from mqe_core.data.readers.bag_sessions import Sessions, recorded_decisions
from mqe_core.images import encode_png
from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.spec import load_robot_spec
from mqe_ros import convert, topics
from tests.ros.ros_helpers import Client

SPEC = load_robot_spec()
COMMANDS = 8


@pytest.mark.parametrize("compressed", [False, True])
def test_every_command_of_a_camera_without_stamps_names_its_image(
    constant_policy: Path, user_folder: Path, client: Client, tmp_path: Path, compressed: bool
) -> None:
    topic = topics.COMPRESSED_IMAGE if compressed else topics.IMAGE
    camera = client.node.create_publisher(topic.type, topic.name, topic.qos)
    poses = [client.node.create_publisher(t.type, t.name, t.qos) for t in (topics.EE_POSE, topics.EE_TARGET)]
    rng = np.random.default_rng(0)
    shown: list[np.ndarray] = []

    def publish() -> None:
        shown.append(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        if compressed:
            camera.publish(CompressedImage(header=Header(), format="png", data=encode_png(shown[-1])))
        else:
            camera.publish(convert.array_to_image(shown[-1], Time(), "camera"))
        now = client.node.get_clock().now().to_msg()
        for publisher in poses:
            publisher.publish(convert.stamped_pose(forward_kinematics(SPEC, SPEC.neutral_rad), now, SPEC.base_frame))

    goal = str(user_folder / "goals" / "corner.png")
    parameters = {
        "policy_node": {"policy": str(constant_policy), "camera_domain": "sim", "goal": goal, "compressed": compressed},
        "record_node": {"folder": str(tmp_path / "bag"), "compressed": compressed},
    }
    nodes = [
        Process(name, f"mqe_ros.{name}", package="mqe_ros", executable=name, parameters=values)
        for name, values in parameters.items()
    ]
    supervisor = Supervisor({}, log_folder=tmp_path)
    supervisor.start(nodes)
    try:
        client.wait(lambda: client.node.count_subscribers(topic.name) >= 2, "policy node and recorder")
        timer = client.node.create_timer(0.05, publish)
        client.wait(lambda: len(client.heard["/policy/command"]) >= COMMANDS, "the commands")
        client.node.destroy_timer(timer)
    finally:
        codes = supervisor.stop()
    assert set(codes.values()) == {0}, codes
    files, images = bag_files(tmp_path / "bag"), NewestImages()
    decided = [one.image for one in recorded_decisions(files, Sessions(files), images)]
    # The recorder keeps the newest image only: on a busy machine it may lose one.
    found = [image for image in decided if image is not None]
    assert images.by_stamp == 0 and len(found) >= COMMANDS // 2, (images.absent, len(decided))
    order = [next(k for k, image in enumerate(shown) if np.array_equal(image, one)) for one in found]
    assert order == sorted(order) and len(set(order)) >= COMMANDS // 2
