"""The rig of the fault suite: camera, policy and arm as real processes, on the fake driver, and what is measured on it.

Times are taken on the joint commands that reach the driver, not on what a node says about itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from rclpy.qos import QoSProfile
from std_msgs.msg import String
from std_srvs.srv import Trigger

from mqe_bringup.process import node
from mqe_core.robot.spec import load_robot_spec
from mqe_interfaces.msg import ArmStatus
from mqe_ros import topics
from tests.ros.faults.swinging_policy import write_goal, write_swinging_policy
from tests.ros.interbotix_driver import FakeDriver
from tests.ros.ros_helpers import Client

SPEC = load_robot_spec()
PERIOD_S = SPEC.control.period_s
HOLD_S = 2 * PERIOD_S  # within which the arm has to hold, once something fails
PATIENCE_S = 30.0  # with processes that start on a busy machine
SETTLED_S = 1.0  # without a new joint command for so long, the arm holds
JUMP_STEPS = 4  # so many of the policy's usual steps at once are a jump
_MOVED_RAD = 1e-7
HERE = Path(__file__).parent


class Rig:
    """Processes by name: driver, camera, arm, policy, and whatever a test adds.

    Args:
        parameters: further ROS parameters of all nodes.
        relay: put fault_relay.py between policy and arm.
    """

    def __init__(
        self, client: Client, folder: Path, parameters: Mapping[str, object] | None = None, relay: bool = False
    ) -> None:
        self.client, self.folder, self.relay = client, folder, relay
        self.parameters = dict(parameters or {})
        self.processes: dict[str, subprocess.Popen] = {}
        self._modes: dict[str, object] = {}
        self._counts: dict[str, Counter[str]] = {}  # by the relay, of each mode
        if relay:
            client.node.create_subscription(String, "/fault_relay/counts", self._hear_counts, 10)
        write_swinging_policy(folder / "swinging.onnx")
        write_goal(folder / "swing.png")
        self.driver = FakeDriver(folder)
        try:
            for name in ("arm", "camera", *(["relay"] if relay else [])):
                self.start(name)
            self.wait(lambda: client.newest("/arm/status"), "the arm's first status")
            self.ask("/arm/home")
            self.wait(lambda: client.newest("/arm/status").reason == "homing", "homing")
            self.wait(lambda: client.newest("/arm/status").state == ArmStatus.READY, "the end of homing")
            self._to_and_fro = time.monotonic()
            self.start("policy")
            self.wait_for_motion()
        except BaseException:
            self.close()
            raise

    def in_motion(self) -> Iterator[Rig]:
        """A fixture's body: the arm moves, and whatever a test does to it, no joint command is a jump."""
        for heard in self.client.heard.values():
            heard.clear()
        self.wait(lambda: self.client.newest("/arm/status"), "the arm's status")
        self.settle()
        for heard in self.client.heard.values():
            heard.clear()  # what is told from here on is about the fault
        self.wait(lambda: self.client.newest("/arm/status") and self.client.newest("/policy/status"), "both statuses")
        yield self
        self.check_steps()

    def settle(self) -> None:
        """Until the arm goes to and fro, whatever state it is found in."""
        if self.client.newest("/arm/status").state in (ArmStatus.FAULT, ArmStatus.HELD):
            self.resume()
        self.wait_for_motion()

    def start(self, name: str) -> float:
        """Start one of the rig's own processes, for the first time or again; the moment."""
        now = time.monotonic()
        ros = [part for key, value in self.parameters.items() for part in ("-p", f"{key}:={value}")]
        if name in ("camera", "relay"):
            command = [sys.executable, str(HERE / f"fault_{name}.py"), "--ros-args", *ros]
        elif name == "arm":
            command = [
                *node("arm_node", {"backend": "hardware", "table_height_m": 0.0, "park_on_exit": False}).command,
                *ros,
            ]
        else:
            given = {
                "policy": str(self.folder / "swinging.onnx"),
                "camera_domain": "real",
                "goal": str(self.folder / "swing.png"),
            }
            command = [*node("policy_node", given).command, *ros]
            if self.relay:
                command += ["-r", "/policy/command:=/relay/in"]
        self.add(name, command)
        return now

    def add(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, env=os.environ, stdout=log, stderr=subprocess.STDOUT)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> float:
        """Send a signal; the moment it was sent."""
        now = time.monotonic()
        self.processes[name].send_signal(number)
        if number == signal.SIGKILL:
            self.processes[name].wait(10)
        return now

    def set_mode(self, topic: str, mode: str) -> float:
        """Tell camera, relay or driver how to misbehave; the moment it was told."""
        if topic not in self._modes:
            self._modes[topic] = self.client.publisher(topics.Topic(topic, String, QoSProfile(depth=10)))
        self._modes[topic].publish(String(data=mode))
        return time.monotonic()

    def camera(self, mode: str) -> float:
        return self.set_mode("/fault_camera/mode", mode)

    def motors(self, mode: str) -> float:
        return self.set_mode("/fake_xs_sdk/fault", mode)

    def line(self, mode: str) -> float:
        self._counts.pop(mode, None)
        return self.set_mode("/fault_relay/mode", mode)

    def done_to_the_line(self, mode: str) -> Counter[str]:
        """What the relay says that it did since it was told this mode."""
        return self._counts.get(mode, Counter())

    def _hear_counts(self, message: String) -> None:
        counts = json.loads(message.data)
        mode = counts.pop("mode")
        self._counts[mode] = Counter(counts)

    def motions(self, since: float) -> np.ndarray:
        """(n,) monotonic s of the joint commands after `since` that asked for another position than the one before."""
        commands = self.driver.commands("group")
        moved = [
            when
            for (_, before), (when, joints) in zip(commands[:-1], commands[1:])
            if np.abs(np.subtract(joints, before)).max() > _MOVED_RAD
        ]
        return np.array([when for when in moved if when > since])

    def pauses(self, since: float) -> np.ndarray:
        """Seconds between motions since then, and until now."""
        return np.diff([since, *self.motions(since), time.monotonic()])

    def ask(self, service: str) -> float:
        """Call a Trigger service; seconds until its answer came."""
        calls = self.client.connect(Trigger, service)
        self.wait(calls.service_is_ready, f"the service {service}")
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            answers: list[tuple[float, Trigger.Response]] = []
            asked = time.monotonic()
            future = calls.call_async(Trigger.Request())
            future.add_done_callback(lambda f, answers=answers: answers.append((time.monotonic(), f.result())))
            while not answers and time.monotonic() - asked < 2.0:
                self.client.spin(0.01)
            if answers:
                assert answers[0][1].success, answers[0][1].message
                return answers[0][0] - asked
        raise AssertionError(
            f"{service} did not answer"
        )  # asked again and again: a killed arm's server is listed for a while

    def wait_for_motion(self, since: float | None = None) -> float:
        """Seconds from `since` (now) to the first joint command of a steady motion."""
        since = time.monotonic() if since is None else since
        self.wait(lambda: len(self.motions(since)) >= 3, "a motion of the arm")
        return float(self.motions(since)[0] - since)

    def wait_for_hold(self, since: float) -> float:
        """Seconds from `since` to the last joint command before the arm held still; 0 where there was none."""
        begin = time.monotonic()
        while time.monotonic() - begin < 10.0:
            self.client.spin(0.2)
            moved = self.motions(since)
            last = moved[-1] if len(moved) else since
            if time.monotonic() - last > SETTLED_S:
                return float(last - since)
        raise AssertionError(f"the arm did not hold: {self.state()}")

    def wait_for_reason(self, topic: str, text: str, since_messages: int = 0) -> None:
        """Until a status on `topic` tells `text` as its reason or refusal."""
        heard = self.client.heard[topic]

        def told() -> bool:
            return any(text in m.reason or text in getattr(m, "refused", "") for m in heard[since_messages:])

        self.wait(told, f"the reason {text!r} on {topic}")

    def wait(self, done: Callable[[], object], what: str) -> None:
        """Listen until `done()`; what arm and policy said last, where it does not come."""
        end = time.monotonic() + PATIENCE_S
        while not done():
            if time.monotonic() > end:
                raise AssertionError(f"{what} did not happen within {PATIENCE_S} s: {self.state()}")
            self.client.spin(0.05)

    def resume(self) -> None:
        """As an operator does once a fault is over."""
        self.wait(lambda: self.client.newest("/arm/status").state != ArmStatus.FAULT, "the end of the fault")
        self.ask("/arm/resume")

    def state(self) -> str:
        arm, policy = self.client.newest("/arm/status"), self.client.newest("/policy/status")
        said = [f"{m.state} {m.reason}" if m else "silent" for m in (arm, policy)]
        return f"arm {said[0]!r}, policy {said[1]!r}"

    def check_steps(self) -> None:
        """No joint command since the arm goes to and fro was farther from the one before than a few of the policy's
        steps.
        """
        commands = self.driver.commands("group")
        joints = np.array([values for when, values in commands if when >= self._to_and_fro])
        steps = np.abs(np.diff(joints, axis=0)).max(axis=1)
        assert np.isfinite(joints).all()
        assert steps.max() <= JUMP_STEPS * np.median(steps[steps > _MOVED_RAD]), steps

    def close(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        self.driver.stop()
