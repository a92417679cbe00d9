"""A tiny policy and a listening node, for the tests of the ROS nodes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mqe_core.policy.bundle import write_bundle
from mqe_core.policy.contract import BundleContract

IMAGE_SIZE = 16
STEP_M = 0.002  # the constant policy's way along x in each command
STEPS_TO_GOAL = 7.0
PATIENCE_S = 90.0  # for processes to start on a busy machine; nothing waits longer than it must


def write_constant_policy(path: Path, stall_commands: int | None = None) -> None:
    """A bundle of the sim that always answers: STEP_M along x, gripper open, STEPS_TO_GOAL."""

    def image(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.UINT8, ["batch", IMAGE_SIZE, IMAGE_SIZE, 3])

    def constant(name: str, value: object, kind: type) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(value, dtype=kind), name)

    nodes = [
        helper.make_node("Cast", ["observation"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["goal"], ["wanted"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["seen", "wanted"], ["both"]),
        helper.make_node("ReduceMean", ["both", "pixels"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Unsqueeze", ["zero", "last"], ["column"]),
        helper.make_node("Add", ["column", "step"], ["action"]),
        helper.make_node("Add", ["zero", "distance"], ["steps_to_goal"]),
    ]
    weights = [
        constant("pixels", [1, 2, 3], np.int64),
        constant("nothing", 0.0, np.float32),
        constant("last", [1], np.int64),
        constant("step", [[STEP_M, 0, 0, 0, 0, 0, 1]], np.float32),
        constant("distance", STEPS_TO_GOAL, np.float32),
    ]
    outputs = [
        helper.make_tensor_value_info("action", TensorProto.FLOAT, ["batch", 7]),
        helper.make_tensor_value_info("steps_to_goal", TensorProto.FLOAT, ["batch"]),
    ]
    graph = helper.make_graph(nodes, "constant", [image("observation"), image("goal")], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    contract = BundleContract(
        robot="widowx250s",
        agent="constant",
        domain="sim",
        image_size=IMAGE_SIZE,
        control_hz=5.0,
        action_low=(-0.05,) * 3 + (-0.25,) * 3 + (0.0,),
        action_high=(0.05,) * 3 + (0.25,) * 3 + (1.0,),
        discount=0.98,
        data_fingerprint="none",
        commit="none",
        stall_commands=stall_commands,
    )
    write_bundle(model, contract, path)


class Client:
    """A node in this process that listens to everything and can wait for what it hears."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        from mqe_ros import topics

        self.node = rclpy.create_node("test_client")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._clients: dict[str, object] = {}
        self.heard: dict[str, list] = {topic.name: [] for topic in topics.RECORDED}
        for topic in topics.RECORDED:
            self.node.create_subscription(topic.type, topic.name, self.heard[topic.name].append, topic.qos)

    def newest(self, topic: str):
        return self.heard[topic][-1] if self.heard[topic] else None

    def spin(self, seconds: float) -> None:
        """Listen for a while; for showing that something does not happen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.listen()

    def wait(self, done: Callable[[], object], what: str):
        """Listen until `done()` is true and return its value."""
        end = time.monotonic() + PATIENCE_S
        while not (value := done()):
            assert time.monotonic() < end, f"{what} did not happen within {PATIENCE_S} s"
            self.listen()
        return value

    def call(self, service: str):
        """The answer of a Trigger service."""
        from std_srvs.srv import Trigger

        return self.ask(Trigger, service, Trigger.Request())

    def ask(self, kind: type, service: str, request: object):
        """The answer of a service of any type that may be asked twice."""
        client = self.connect(kind, service)
        self.wait(client.service_is_ready, f"service {service}")
        return self.answer(lambda: client.call_async(request), f"an answer from {service}")

    def answer(self, ask: Callable[[], object], what: str):
        from mqe_ros.asking import answer

        return answer(ask, self.listen, PATIENCE_S, what)

    def listen(self) -> None:
        self._executor.spin_once(timeout_sec=0.05)

    def connect(self, kind: type, service: str):
        """The client of a service of any type, one for all calls."""
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
        return self._clients[service]

    def publisher(self, topic, listeners: int = 1):
        """A publisher whose first message arrives; `listeners`: how many subscriptions there are, this client's too.

        A new publisher knows of its subscriptions at once. They learn of it later, and what it says before is lost.
        """
        publisher = self.node.create_publisher(topic.type, topic.name, topic.qos)
        self.wait(lambda: publisher.get_subscription_count() >= listeners, f"{listeners} subscriptions to {topic.name}")
        self.spin(1.0)
        return publisher

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()


def diagnosed(client: Client, lifecycle: str, node: str = "policy_node"):
    """A managed node's next diagnosis in that state of its lifecycle."""
    client.spin(0.1)  # what has arrived while this client did not listen is an older one
    client.heard["/diagnostics"].clear()

    def said():
        for message in client.heard["/diagnostics"]:
            for status in message.status:
                if status.name == f"{node}: control" and figures(status)["lifecycle"] == lifecycle:
                    return status
        return None

    return client.wait(said, f"the diagnosis {lifecycle}")


def figures(status) -> dict[str, str]:
    """The values of a diagnosis, by key."""
    return {pair.key: pair.value for pair in status.values}


class Goal:
    """One request to /reach_goal."""

    def __init__(self, client: Client, request: object) -> None:
        from mqe_ros.goal_client import GoalClient

        self.client = client
        self.feedback: list[object] = []
        goals = GoalClient(client.node, client.listen)
        client.wait(goals.is_there, "the action server's discovery")
        self._sent = goals.send(request, PATIENCE_S, self.feedback.append)

    def moving(self) -> None:
        self.client.wait(lambda: self.feedback and self.feedback[-1].steps >= 2, "a motion")

    def result(self):
        return self._sent.result(PATIENCE_S)

    def cancel(self) -> None:
        self._sent.cancel(PATIENCE_S)


def reach(client: Client, timeout_s: float = 60.0) -> Goal:
    """Ask for the goal `corner` of the user's folder."""
    from mqe_interfaces.action import ReachGoal

    return Goal(client, ReachGoal.Goal(goal_file="corner", timeout_s=timeout_s))


def target(client: Client) -> np.ndarray:
    """(4, 4), really commanded last."""
    from mqe_ros import convert

    return convert.pose_to_matrix(client.newest("/arm/ee_target").pose)


class Lifecycle:
    """Drives a managed node by its services, as a lifecycle manager or `ros2 lifecycle` does."""

    def __init__(self, client: Client, node: str = "/policy_node") -> None:
        from lifecycle_msgs.srv import ChangeState

        self._client, self._node = client, node
        # A transition cannot be asked for twice. Endpoints become known in the order of their making, so an answer to a
        # later one shows that those of this one will arrive as well.
        self._change = client.connect(ChangeState, f"{node}/change_state")
        _ = self.state

    @property
    def state(self) -> str:
        from lifecycle_msgs.srv import GetState

        return self._client.ask(GetState, f"{self._node}/get_state", GetState.Request()).current_state.label

    def change(self, *transitions: str) -> bool:
        """Take them in this order; whether all succeeded."""
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        for label in transitions:
            asked = self._change.call_async(ChangeState.Request(transition=Transition(label=label)))
            self._client.wait(asked.done, f"the transition {label}")
            if not asked.result().success:
                return False
        return True

    def set(self, **parameters: object) -> None:
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in parameters.items()]
        )
        answer = self._client.ask(SetParameters, f"{self._node}/set_parameters", request)
        assert all(result.successful for result in answer.results), answer
