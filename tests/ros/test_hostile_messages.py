"""Promise: no field of any message or request ends a node, and what was dropped is counted and named.

Real processes on the mock backend, started once for the whole file; this process publishes beside them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParameters
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mqe_bringup.supervisor import Supervisor
from mqe_interfaces.msg import EndEffectorCommand
from mqe_ros import convert, topics
from tests.ros.ros_helpers import Client, figures, reach

STAMPS = (
    Time(sec=-1),
    Time(sec=-(2**31)),
    Time(sec=2**31 - 1, nanosec=2**32 - 1),
    Time(nanosec=2**32 - 1),
    Time(),
)
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
NUMBERS = (math.nan, math.inf, -math.inf, 1e308, -0.0, 5e-324)
NAMES = ("", "\n", "a" * 300, "\U0001f980" * 50, "../../x", "%s%n{0}")


def images() -> Iterator[Image]:
    good = convert.array_to_image(PIXELS, Time(), "camera")
    for stamp in STAMPS:
        yield altered(good, header=Header(stamp=stamp))
    for name in NAMES:
        yield altered(good, header=Header(frame_id=name), encoding=name)
    for fields in (
        {"height": 2**32 - 1, "width": 2**32 - 1, "step": 2**32 - 1},
        {"height": 0},
        {"width": 0, "step": 0},
        {"step": 1},
        {"data": b""},
        {"data": bytes(2**20)},
        {"height": 1, "width": 2**30},
        {"is_bigendian": 255},
    ):
        yield altered(good, **fields)


def poses() -> Iterator[PoseStamped]:
    for stamp in STAMPS:
        yield PoseStamped(header=Header(stamp=stamp), pose=Pose(orientation=Quaternion(w=1.0)))
    for number in NUMBERS:
        yield PoseStamped(pose=Pose(position=Point(x=number), orientation=Quaternion(w=1.0)))
        yield PoseStamped(pose=Pose(orientation=Quaternion(x=number, w=number)))
    for name in NAMES:
        yield PoseStamped(header=Header(frame_id=name))


def commands() -> Iterator[EndEffectorCommand]:
    pose = Pose(position=Point(x=0.3, z=0.2), orientation=Quaternion(w=1.0))
    for stamp in STAMPS:
        yield EndEffectorCommand(header=Header(stamp=stamp), observation_stamp=stamp, target=pose)
    for number in NUMBERS:
        yield EndEffectorCommand(target=pose, gripper=number, action=[number] * 7)
        yield EndEffectorCommand(target=Pose(position=Point(x=number), orientation=Quaternion(z=number, w=1.0)))
    for name in NAMES:
        yield EndEffectorCommand(header=Header(frame_id=name), session=name, target=pose, sequence=2**64 - 1)


def altered(message, **fields):
    message = copy.deepcopy(message)
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def damaged(message) -> Iterator[bytes]:
    """Its bytes cut short, with lengths that do not fit, and without UTF-8."""
    raw = bytes(serialize_message(message))
    yield from (raw[:length] for length in (0, 1, 4, 12, len(raw) // 2, len(raw) - 1))
    yield raw[:12] + b"\xff\xff\xff\x7f" + raw[16:]  # the length of the first text
    yield raw[:16] + b"\xff\xfe" + raw[18:]
    yield b"\xff" * len(raw)
    yield raw + bytes(5000)


@pytest.mark.parametrize(
    ("topic", "messages"),
    [(topics.IMAGE, images), (topics.EE_POSE, poses), (topics.EE_TARGET, poses), (topics.COMMAND, commands)],
    ids=["image", "pose", "target", "command"],
)
def test_no_field_of_a_message_ends_a_node(
    topic: topics.Topic, messages: Callable[[], Iterator], homed: Client, running: Supervisor
) -> None:
    goal = reach(homed, timeout_s=120.0)
    goal.moving()
    publisher = homed.publisher(topic)
    made = list(messages())
    for message in [*made, *damaged(made[-1])]:
        publisher.publish(message)
        homed.spin(0.05)
    homed.node.destroy_publisher(publisher)
    assert running.ended() is None, running.log_tail("policy_node") + running.log_tail("arm_node")
    homed.heard["/policy/command"].clear()
    homed.wait(lambda: len(homed.heard["/policy/command"]) > 3, "commands after all that")
    goal.cancel()
    goal.result()


def test_what_is_dropped_is_counted_and_named(arm: Client) -> None:
    publisher = arm.publisher(topics.COMMAND, 2)
    arm.heard["/diagnostics"].clear()
    publisher.publish(EndEffectorCommand(session="a" * 100_000))

    def told():
        for message in arm.heard["/diagnostics"]:
            for status in message.status:
                if status.name == "arm_node: control" and "dropped so far on /policy/command" in status.message:
                    return status
        return None

    status = arm.wait(told, "the diagnosis")
    arm.node.destroy_publisher(publisher)
    assert status.level >= status.WARN and "at most 4096 are taken" in status.message
    assert int(figures(status)["dropped /policy/command"]) >= 1


@pytest.mark.parametrize("node", ["policy_node", "arm_node", "camera_node"])
def test_no_clock_ends_a_node(node: str, arm: Client, running: Supervisor) -> None:
    def use(simulated: bool) -> None:
        value = ParameterValue(type=1, bool_value=simulated)
        request = SetParameters.Request(parameters=[Parameter(name="use_sim_time", value=value)])
        assert arm.ask(SetParameters, f"/{node}/set_parameters", request).results[0].successful

    clock = None
    use(True)
    try:
        clock = arm.publisher(topics.Topic("/clock", Clock, QoSProfile(depth=10)))
        for stamp in (*STAMPS, Time(sec=5), Time(sec=1)):
            clock.publish(Clock(clock=stamp))
            arm.spin(0.1)
        arm.spin(1.2)  # a diagnosis on such a clock
        assert running.ended() is None, running.log_tail(node)
    finally:
        use(False)
        if clock is not None:
            arm.node.destroy_publisher(clock)
    assert running.ended() is None, running.log_tail(node)


def test_no_request_ends_a_node(arm: Client, running: Supervisor) -> None:
    for node in ("policy_node", "arm_node", "camera_node"):
        for kind in (0, 1, 2, 3, 4, 5, 9, 99, 255):
            for name in ("", "threads", "self_activate", "robot", "nowhere", "a" * 1000, "use_sim_time"):
                value = ParameterValue(type=kind, integer_value=-(2**63), double_value=math.nan, string_value="\n")
                request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
                if name != "use_sim_time" or kind != 1:
                    arm.ask(SetParameters, f"/{node}/set_parameters", request)
        arm.ask(GetParameters, f"/{node}/get_parameters", GetParameters.Request(names=["", "nowhere", "\n"]))
        arm.ask(DescribeParameters, f"/{node}/describe_parameters", DescribeParameters.Request(names=["", "x" * 500]))
        arm.ask(ListParameters, f"/{node}/list_parameters", ListParameters.Request(prefixes=["", "."], depth=2**64 - 1))
    for transition in (Transition(id=255), Transition(id=0), Transition(label="a" * 1000), Transition(label="\n")):
        request = ChangeState.Request(transition=transition)
        assert not arm.ask(ChangeState, "/policy_node/change_state", request).success
    assert running.ended() is None, "".join(running.log_tail(name) for name in ("policy_node", "arm_node"))


@pytest.mark.parametrize("node", ["policy_node", "arm_node", "camera_node"])
def test_a_request_of_thousands_keeps_no_hold_waiting(node: str, arm: Client) -> None:
    """rclpy works on each of them for a third of a millisecond, in the thread that answers a hold."""
    value = ParameterValue(type=2, integer_value=1)
    many = SetParameters.Request(parameters=[Parameter(name=f"p{number}", value=value) for number in range(3000)])
    arm.heard["/diagnostics"].clear()
    assert not arm.ask(SetParameters, f"/{node}/set_parameters", many).results
    arm.wait(lambda: "a request of 3000 parameters, at most 100" in said_by(arm, node), "the diagnosis")
    few = SetParameters.Request(parameters=many.parameters[:100])
    assert len(arm.ask(SetParameters, f"/{node}/set_parameters", few).results) == 100


def said_by(client: Client, node: str) -> str:
    """Its newest diagnoses."""
    said = [status for message in client.heard["/diagnostics"] for status in message.status]
    return " ".join(status.message for status in said if status.name.startswith(node))


def test_no_text_of_others_makes_a_long_reason(arm: Client, running: Supervisor) -> None:
    text = ParameterValue(type=4, string_value="\x1b[2J" * 250_000)
    request = SetParameters.Request(parameters=[Parameter(name="policy", value=text)])
    (answer,) = arm.ask(SetParameters, "/policy_node/set_parameters", request).results
    assert not answer.successful and "at most 4,096 letters" in answer.reason and len(answer.reason) < 1000
    transition = ChangeState.Request(transition=Transition(label="\x1b[2J" * 10_000))
    assert not arm.ask(ChangeState, "/policy_node/change_state", transition).success
    lines = running.log_tail("policy_node", 50).splitlines()
    assert any("no transition" in line for line in lines)
    assert all(len(line) < 1000 and "\x1b[2J" not in line for line in lines)
