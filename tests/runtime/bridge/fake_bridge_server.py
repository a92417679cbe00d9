"""A stand-in for bridge_data_robot's WidowX server, as published (robot_base_env.py, widowx_env_service.py, and edgeml
below it); in a thread.

It shares no code with the product: its own rotations, its own composition of steps on the target. Its arm covers 60 %
of the way to the target at once in each step, so that arithmetic can be compared; one that `follows` covers the whole
way, in the time of the motors' profile. Its camera shows a plain image.
"""

from __future__ import annotations

import io
import json
import pickle
import threading
import time

import lz4.frame
import numpy as np
import zmq
from PIL import Image


def rotation(roll: float, pitch: float, yaw: float) -> np.ndarray:
    (cr, cp, cy), (sr, sp, sy) = np.cos([roll, pitch, yaw]), np.sin([roll, pitch, yaw])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


PROFILE_S = 0.25


class FakeBridgeServer:
    """`silent`: the next step is done and answered too late. `initialised`: whether init came (or is taken for
    granted).
    `observing_s`: how long an observation takes to arrive, once measured.
    """

    def __init__(self, initialised: bool = True, version: str = "0.0.1", follows: bool = False) -> None:
        self.initialised, self.silent, self.observing_s = initialised, False, 0.0
        self._follows, self._began = follows, time.monotonic()
        self.steps: list[list[float]] = []
        self.requests: list[dict] = []
        self.position, self.rotation = (
            np.array([0.3, 0.1, 0.25]),
            np.eye(3),
        )  # target, relative to the tool pointing down
        self.measured_position, self.measured_rotation = np.array([0.28, 0.1, 0.22]), np.eye(3)  # as somebody left it
        self._start = self.measured_position  # of the motion under way
        self.gripper = 1.0
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REP)
        self.port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self._config = {
            "port_number": self.port,
            "action_keys": ["init", "move", "gripper", "reset", "step_action", "reboot_motor"],
            "observation_keys": ["image", "state", "full_image"],
            "broadcast_port": self.port + 1,
            "version": version,
        }
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close(linger=0)
        self._context.term()

    def _serve(self) -> None:
        while not self._stop.is_set():
            if not self._socket.poll(20):
                continue
            request = pickle.loads(lz4.frame.decompress(self._socket.recv()))
            self.requests.append(request)
            reply = self._answer(request)
            late = self.silent and request.get("key") == "step_action"
            time.sleep(1.2 if late else self.observing_s if request["type"] == "obs" else 0.0)
            self.silent = self.silent and not late
            self._socket.send(lz4.frame.compress(pickle.dumps(reply)))

    def _answer(self, request: dict) -> dict:
        if request["type"] == "hash":
            return {"success": True, "payload": json.dumps(self._config, separators=(",", ":"))}
        if request["type"] == "obs":
            return self._observation()
        if request["type"] == "act" and request["key"] == "init":
            self.initialised = True
            # At its start pose the arm rests a little off where it was told to; there the server re-bases its target.
            self.measured_position = np.array([0.3, 0.0, 0.145])
            self._start = self.position = self.measured_position.copy()
            return {"status": 1}
        if request["type"] == "act" and not self.initialised:
            return {"status": 3}
        if request["type"] == "act" and request["key"] == "step_action":
            self._step(request["payload"]["action"])
            return {"status": 1}
        return {"success": False, "message": "Invalid payload"}

    def _step(self, action: list[float]) -> None:
        assert type(action) is list and len(action) == 7
        self.steps.append(action)
        self._measure()
        delta = np.clip(action[:6], [-0.05] * 3 + [-0.25] * 3, [0.05] * 3 + [0.25] * 3)
        turn = rotation(*delta[3:])
        self.position = turn @ (self.position - self.measured_position) + self.measured_position + delta[:3]
        self.rotation = turn @ self.rotation
        self.gripper = action[6]
        self.measured_rotation = self.rotation
        self._start, self._began = self.measured_position, time.monotonic()
        if not self._follows:
            self.measured_position = self.measured_position + 0.6 * (self.position - self.measured_position)

    def _measure(self) -> None:
        if self._follows:
            part = min(1.0, (time.monotonic() - self._began) / PROFILE_S)
            self.measured_position = self._start + part * (self.position - self._start)

    def _observation(self) -> dict:
        if not self.initialised:
            noise = np.zeros((480, 640, 3), np.uint8)
            return {"image": noise, "state": {}, "full_image": noise}
        self._measure()
        r = self.measured_rotation
        rpy = [
            np.arctan2(r[2, 1], r[2, 2]),
            np.arctan2(-r[2, 0], np.hypot(r[0, 0], r[1, 0])),
            np.arctan2(r[1, 0], r[0, 0]),
        ]
        shown = np.zeros((48, 64, 3), np.uint8)
        shown[:24], shown[24:] = (220, 120, 70), (160, 60, 10)  # RGB
        shown[:, len(self.steps) % 64] += 4  # the picture changes with every step
        buffer = io.BytesIO()
        Image.fromarray(shown[:, :, ::-1]).save(buffer, format="JPEG", quality=95)  # encoded as if it were BGR
        return {
            "image": np.zeros((1, 3 * 256 * 256), np.float32),
            "state": np.array([*self.measured_position, *rpy, self.gripper]),
            "full_image": buffer.getvalue(),
        }
