"""For tests only, where Interbotix's package is not installed: the few calls that the product uses, over the
same topics and services.
"""

from __future__ import annotations

from interbotix_xs_msgs.msg import JointGroupCommand, JointSingleCommand
from interbotix_xs_msgs.srv import RegisterValues, RobotInfo
from rclpy.node import Node
from sensor_msgs.msg import JointState


class InterbotixRobotXSCore:
    def __init__(self, robot_model: str, robot_name: str | None = None, node: Node | None = None) -> None:
        assert node is not None  # upstream makes a global one; the product always brings its own
        self._node, space = node, f"/{robot_name or robot_model}"
        self._info = node.create_client(RobotInfo, f"{space}/get_robot_info")
        self._get = node.create_client(RegisterValues, f"{space}/get_motor_registers")
        self._set = node.create_client(RegisterValues, f"{space}/set_motor_registers")
        for client in (self._info, self._get, self._set):
            client.wait_for_service()
        self._group = node.create_publisher(JointGroupCommand, f"{space}/commands/joint_group", 10)
        self._single = node.create_publisher(JointSingleCommand, f"{space}/commands/joint_single", 10)
        self.joint_states: JointState | None = None
        self.sub_joint_states = node.create_subscription(JointState, f"{space}/joint_states", self._on_joint_states, 10)

    def robot_write_commands(self, group_name: str, commands: list[float]) -> None:
        self._group.publish(JointGroupCommand(name=group_name, cmd=commands))

    def robot_write_joint_command(self, joint_name: str, command: float) -> None:
        self._single.publish(JointSingleCommand(name=joint_name, cmd=command))

    def robot_get_robot_info(self, cmd_type: str, name: str) -> RobotInfo.Response:
        return self._ask(self._info, RobotInfo.Request(cmd_type=cmd_type, name=name))

    def robot_get_motor_registers(self, cmd_type: str, name: str, reg: str) -> list[int]:
        return self._ask(self._get, RegisterValues.Request(cmd_type=cmd_type, name=name, reg=reg)).values

    def robot_set_motor_registers(self, cmd_type: str, name: str, reg: str, value: int) -> None:
        self._ask(self._set, RegisterValues.Request(cmd_type=cmd_type, name=name, reg=reg, value=value))

    def _ask(self, client, request):
        future = client.call_async(request)
        self._node.wait_until_future_complete(future)
        return future.result()

    def _on_joint_states(self, message: JointState) -> None:
        self.joint_states = message
