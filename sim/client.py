"""A client of the simulation's server: what the arm node and the camera node hold. It loads no PyBullet."""

from __future__ import annotations

import dataclasses
import json
import time

import numpy as np
import zmq

from mqe_core.robot.arrays import Floats, Images
from mqe_sim.arm import ArmState
from mqe_sim.wire import OracleStep, SceneInfo, check_address, subscribe, unpack_frame

_SILENCE_MS = 2000  # a client that hears nothing for so long reports a dead server
_REPLY_TIMEOUT_MS = 15_000  # building or scoring a scene takes well under a second on an idle machine


class Client:
    """A connection to a running server. Waits up to 15 s for it to answer; RuntimeError when it does not."""

    def __init__(self, address: str) -> None:
        check_address(address)
        self._address = address
        self._context = zmq.Context()
        self._commands = self._context.socket(zmq.PUSH)
        self._commands.connect(f"{address}.commands")
        self._requests = self._connect_requests()
        self._state = subscribe(self._context, f"{address}.state")
        self._frames = subscribe(self._context, f"{address}.frames")
        self._arm: ArmState | None = None
        self._commanded_s = 0.0  # when the newest command that the newest state knows of was sent
        self._sent: tuple[float, Floats, float] | None = None  # our newest command: when, joints, gripper
        self._frame: tuple[float, Images] | None = None
        try:
            self.info()
        except BaseException:
            self.close()
            raise

    def info(self) -> SceneInfo:
        """What the scene is."""
        info: SceneInfo = json.loads(self._ask({"kind": "info"}))
        return info

    def reset(self, task: str, seed: int) -> None:
        """Set up another scene; ValueError for an unknown task."""
        reply = json.loads(self._ask({"kind": "reset", "task": task, "seed": seed}))
        if "error" in reply:
            raise ValueError(reply["error"])

    def score(self) -> float:
        """Score once everything has come to rest."""
        return float(json.loads(self._ask({"kind": "score"}))["score"])

    def oracle(self) -> OracleStep:
        """What the task's script would do now, without noise. It sees where the things are, as no policy can."""
        said = json.loads(self._ask({"kind": "oracle"}))
        return OracleStep(np.array(said["action"]), said["solved"], said["done"])

    def goal(self) -> Images:
        """(H, W, 3) uint8 RGB of the solved scene."""
        return unpack_frame(self._ask({"kind": "goal"}))[1]

    def arm_state(self) -> ArmState:
        """The newest published state; the caller's own copy. Its target is the newest, even one that the server has
        yet to take.

        Waits for the first state. Raises RuntimeError when the server has fallen silent.
        """
        while self._state.poll(0 if self._arm is not None else _SILENCE_MS):
            fields = json.loads(self._state.recv())
            self._arm = ArmState(
                fields["stamp"],
                np.array(fields["joints"]),
                fields["gripper"],
                fields["gripper_effort_n"],
                np.array(fields["target_joints"]),
                fields["target_gripper"],
            )
            self._commanded_s = fields["commanded_s"]
        if self._arm is None or time.monotonic() - self._arm.stamp > 1e-3 * _SILENCE_MS:
            raise RuntimeError(
                f"the simulation at {self._address} has not published its state for {1e-3 * _SILENCE_MS:.0f} s; is it "
                "still running?"
            )
        arm = dataclasses.replace(
            self._arm, joints=self._arm.joints.copy(), target_joints=self._arm.target_joints.copy()
        )
        if self._sent is not None and self._sent[0] > self._commanded_s:
            arm = dataclasses.replace(arm, target_joints=self._sent[1].copy(), target_gripper=self._sent[2])
        return arm

    def frame(self) -> tuple[float, Images] | None:
        """The newest (stamp, image), or None before the first."""
        while self._frames.poll(0):
            self._frame = unpack_frame(self._frames.recv())
        return self._frame

    def command(self, joints: Floats, gripper: float) -> None:
        """Set the motors' targets; returns at once."""
        self._sent = (time.monotonic(), np.array(joints, dtype=np.float64), float(gripper))
        message = {"sent_s": self._sent[0], "joints": self._sent[1].tolist(), "gripper": self._sent[2]}
        self._commands.send(json.dumps(message).encode())

    def close(self) -> None:
        """Disconnect."""
        self._context.destroy(linger=200)  # lets a last command leave

    def _connect_requests(self) -> zmq.Socket[bytes]:
        requests: zmq.Socket[bytes] = self._context.socket(zmq.REQ)
        requests.connect(f"{self._address}.requests")
        return requests

    def _ask(self, request: dict[str, object]) -> bytes:
        self._requests.send(json.dumps(request).encode())
        if not self._requests.poll(_REPLY_TIMEOUT_MS):
            self._requests.close(linger=0)  # a REQ socket without its reply can ask no more
            self._requests = self._connect_requests()
            raise RuntimeError(
                f"no simulation answers at {self._address}; start one: python -m mqe_sim.server --address "
                f"{self._address}"
            )
        return self._requests.recv()
