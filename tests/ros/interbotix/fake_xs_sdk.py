"""A stand-in for Interbotix's xs_sdk node: the same topics and services, its quirks included, without motors.

    python fake_xs_sdk.py [--address ipc://… of a running mqe_sim.server] [--log FILE]

Its motors are arithmetic or, with --address, those of the PyBullet arm. What it does is what is known of the driver
(interbotix_ros_core, xs_sdk_obj.cpp and pull request 46): joint states at 100 Hz, a goal is kept for ever (no
watchdog), NaN is not refused, most answers are empty, an unknown name gets a default answer, a bus that cannot be read
shows as -pi for every joint, registers of a motor in error are left out. It shares no code with the product.

A text on /fake_xs_sdk/fault changes it: ok, dead_bus, nan, silent, hot, error (one motor's registers cannot be read),
limp (torque off), restarted (its own profile is in force again). Every command that arrives is a line of --log: the
time (monotonic s), what it was, and its values.

Joint states that are none of an arm: inf, far (1e308), short (fewer positions than names), twice (a joint twice),
others (names of no arm), empty, huge (a million positions). past stamps them before 1970, which changes nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path

from interbotix_xs_msgs.msg import JointGroupCommand, JointSingleCommand, JointTrajectoryCommand
from interbotix_xs_msgs.srv import MotorGains, OperatingModes, Reboot, RegisterValues, RobotInfo, TorqueEnable
from sensor_msgs.msg import JointState
from std_msgs.msg import String

sys.path.insert(0, str(Path(__file__).parents[3]))  # it runs as a process of its own
from tests.ros.fake_process import run  # noqa: E402

JOINTS = ["waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate"]
LOWER = [-3.1415826, -1.88496, -2.14675, -3.1415826, -1.74533, -3.1415826]  # the motors' own position limits
UPPER = [3.1415826, 1.98968, 1.60570, 3.1415826, 2.14675, 3.1415826]
SLEEP = [0.0, -1.80, 1.55, 0.0, 0.8, 0.0]
FINGER_CLOSED_M, FINGER_OPEN_M = 0.010, 0.038  # the linkage's ends
FINGER_SPEED_M_PER_S = 0.1  # at the full PWM of 350
SIM_CLOSED_M, SIM_OPEN_M = 0.010, 0.035  # what the sim's gripper values 0 and 1 mean
SIM_PROFILE_MS = 250  # the sim's motor gains emulate this profile by themselves
RATE_HZ = 100.0


class Arithmetic:
    """Motors that are always where their profile says."""

    def __init__(self) -> None:
        self.joints, self.finger_m = list(SLEEP), 0.02

    def read(self) -> tuple[list[float], float]:
        return self.joints, self.finger_m

    def write(self, joints: list[float], finger_m: float) -> None:
        self.joints, self.finger_m = list(joints), finger_m


class Bullet:
    """The PyBullet arm's motors; they follow what they are told as fast as they can."""

    def __init__(self, address: str) -> None:
        from mqe_sim.client import Client

        self._client = Client(address)

    def read(self) -> tuple[list[float], float]:
        arm = self._client.arm_state()
        return arm.joints.tolist(), SIM_CLOSED_M + arm.gripper * (SIM_OPEN_M - SIM_CLOSED_M)

    def write(self, joints: list[float], finger_m: float) -> None:
        self._client.command(joints, (finger_m - SIM_CLOSED_M) / (SIM_OPEN_M - SIM_CLOSED_M))


class FakeXsSdk:
    def __init__(self, node, motors: Arithmetic | Bullet, log) -> None:
        self._node, self._motors, self._log = node, motors, log
        self._fault = "ok"
        joints, finger = motors.read()
        self._start, self._goal = list(joints), list(joints)  # of the motion under way
        self._began = time.monotonic()
        self._setpoint = list(joints)
        self._finger, self._pwm = finger, 0.0
        self._registers = {"Profile_Velocity": 2000, "Profile_Acceleration": 300}
        self._registers |= {"Torque_Enable": 1, "Hardware_Error_Status": 0, "Present_Temperature": 35}
        self._states = node.create_publisher(JointState, "joint_states", 10)
        node.create_subscription(JointGroupCommand, "commands/joint_group", self._on_group, 10)
        node.create_subscription(JointSingleCommand, "commands/joint_single", self._on_single, 10)
        node.create_subscription(
            JointTrajectoryCommand, "commands/joint_trajectory", lambda m: self._write_log("trajectory", []), 10
        )
        node.create_subscription(String, "/fake_xs_sdk/fault", self._on_fault, 10)
        for kind, name, answer in (
            (RobotInfo, "get_robot_info", self._info),
            (RegisterValues, "get_motor_registers", self._get),
            (RegisterValues, "set_motor_registers", self._set),
            (TorqueEnable, "torque_enable", self._torque),
            (OperatingModes, "set_operating_modes", self._empty("set_operating_modes")),
            (MotorGains, "set_motor_pid_gains", self._empty("set_motor_pid_gains")),
            (Reboot, "reboot_motors", self._empty("reboot_motors")),
        ):
            node.create_service(kind, name, answer)
        node.create_timer(1.0 / RATE_HZ, self._step)

    def _step(self) -> None:
        period = 1.0 / RATE_HZ
        duration = self._registers["Profile_Velocity"] / 1000
        if isinstance(self._motors, Bullet):
            duration = max(0.0, duration - SIM_PROFILE_MS / 1000)
        part = 1.0 if duration <= 0 else min(1.0, (time.monotonic() - self._began) / duration)
        joints, finger = self._motors.read()
        if self._registers["Torque_Enable"]:
            self._setpoint = [a + part * (b - a) for a, b in zip(self._start, self._goal)]
        # A motor without current holds nothing: at PWM 0 the finger stays where it happens to be.
        self._finger = finger if self._pwm == 0.0 else self._finger + self._pwm / 350 * FINGER_SPEED_M_PER_S * period
        self._finger = min(max(self._finger, FINGER_CLOSED_M), FINGER_OPEN_M)
        self._motors.write(self._setpoint, self._finger)
        if self._fault != "silent":
            self._publish(joints, finger)

    def _publish(self, joints: list[float], finger: float) -> None:
        angle = math.asin(max(-1.0, min(1.0, (finger - 0.0195) / 0.014)))  # of the gripper's horn, roughly
        positions = [*joints, angle, finger, -finger]
        if self._fault == "dead_bus":
            positions = [-math.pi] * 7 + [0.0195, -0.0195]
        elif self._fault == "nan":
            positions = [math.nan] * 9
        names = [*JOINTS, "gripper", "left_finger", "right_finger"]
        damage: dict[str, tuple[list[str], list[float]]] = {
            "inf": (names, [math.inf] * 9),
            "far": (names, [1e308] * 9),
            "short": (names, positions[:3]),
            "twice": ([*names[:-1], names[0]], positions),
            "others": ([f"joint_{k}" for k in range(9)], positions),
            "empty": ([], []),
            "huge": (names, [0.0] * 1_000_000),
        }
        names, positions = damage.get(self._fault, (names, positions))
        message = JointState(name=names, position=[float(p) for p in positions])
        message.header.stamp = self._node.get_clock().now().to_msg()
        if self._fault == "past":
            message.header.stamp.sec = -1
        message.velocity = [0.0] * 9
        message.effort = [0.0] * 9
        self._states.publish(message)

    def _on_group(self, message: JointGroupCommand) -> None:
        self._write_log("group", list(message.cmd))
        if message.name != "arm" or len(message.cmd) != len(JOINTS):
            return
        # A motor ignores a goal beyond its own limits; NaN becomes whatever the conversion makes of it.
        goal = [0.0 if math.isnan(v) else v for v in message.cmd]
        self._goal = [v if lo <= v <= hi else old for v, lo, hi, old in zip(goal, LOWER, UPPER, self._goal)]
        self._start, self._began = list(self._setpoint), time.monotonic()

    def _on_single(self, message: JointSingleCommand) -> None:
        self._write_log(message.name, [message.cmd])
        if message.name == "gripper":
            self._pwm = float(message.cmd)

    def _on_fault(self, message: String) -> None:
        self._fault = message.data
        self._write_log("fault", [])
        self._registers["Torque_Enable"] = 0 if message.data == "limp" else 1
        self._registers["Present_Temperature"] = 70 if message.data == "hot" else 35
        if message.data == "restarted":
            self._registers |= {"Profile_Velocity": 2000, "Profile_Acceleration": 300}

    def _info(self, request: RobotInfo.Request, response: RobotInfo.Response) -> RobotInfo.Response:
        if request.cmd_type == "group" and request.name in ("arm", "all"):
            response.mode, response.profile_type = "position", "time"
            response.joint_names, response.num_joints = JOINTS, len(JOINTS)
            response.joint_lower_limits, response.joint_upper_limits = LOWER, UPPER
            response.joint_sleep_positions, response.name = SLEEP, [request.name]
        elif request.name == "gripper":
            response.mode, response.profile_type = "pwm", "velocity"
            response.joint_names, response.num_joints = ["left_finger"], 1
            response.joint_lower_limits, response.joint_upper_limits, response.name = [0.015], [0.037], ["gripper"]
        return response

    def _get(self, request: RegisterValues.Request, response: RegisterValues.Response) -> RegisterValues.Response:
        motors = {"arm": 6, "all": 7}.get(request.name, 0)
        if self._fault in ("error", "dead_bus"):
            motors = max(0, motors - 1) if self._fault == "error" else 0
        if request.reg in self._registers:
            response.values = [self._registers[request.reg]] * motors
        return response

    def _set(self, request: RegisterValues.Request, response: RegisterValues.Response) -> RegisterValues.Response:
        self._write_log(request.reg, [request.value])
        if self._fault == "ok" and request.name in ("arm", "all"):
            self._registers[request.reg] = request.value
        return response

    def _torque(self, request: TorqueEnable.Request, response: TorqueEnable.Response) -> TorqueEnable.Response:
        self._write_log("torque_enable", [int(request.enable)])
        self._registers["Torque_Enable"] = int(request.enable)
        return response

    def _empty(self, name: str):
        def answer(request, response):
            self._write_log(name, [])
            return response

        return answer

    def _write_log(self, what: str, values: list[float]) -> None:
        if self._log is not None:
            self._log.write(json.dumps([time.monotonic(), what, values]) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address")
    parser.add_argument("--name", default="wx250s")
    parser.add_argument("--log")
    args = parser.parse_args()
    log = open(args.log, "w", buffering=1) if args.log else None
    motors = Bullet(args.address) if args.address else Arithmetic()
    run(lambda node: FakeXsSdk(node, motors, log), "xs_sdk", namespace=f"/{args.name}")


if __name__ == "__main__":
    main()
