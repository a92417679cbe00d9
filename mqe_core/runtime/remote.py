"""RemotePolicy: a policy that a server computes. What does not answer in time holds the arm."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import zmq

from mqe_core.bundle_contract import BundleContract, BundleError
from mqe_core.runtime import wire
from mqe_core.runtime.keys import secure_client
from mqe_core.runtime.policy_images import PolicyImages
from mqe_core.runtime.policy_side import PolicyOutput, PolicyUnavailable, StickyGripper


class RemotePolicy:
    """A connection to a PolicyServer. Both images are resized here, so little travels.

    An answer to an earlier question is dropped, never executed; a server that is lost and comes back is found
    again by itself, and refused if it then runs another policy. Not for two threads at once.

    Args:
        address: tcp://host:port of the server.
        keys: folder of the keys; None for a server without.
        reply_timeout_s: how long one answer may take; half a control period leaves time to act on it.
        connect_timeout_s: how long the server is waited for at the start.

    RuntimeError where no server answers at the start, with the remedy.
    """

    def __init__(
        self, address: str, *, keys: Path | None, reply_timeout_s: float = 0.1, connect_timeout_s: float = 5.0
    ) -> None:
        wire.check_port(address)
        self.late = 0  # answers that came after their time
        self._address, self._timeout_s = address, reply_timeout_s
        self._id = 0
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        try:
            wire.prepare(self._socket)
            self._socket.set(zmq.IMMEDIATE, 1)  # nothing is queued for a server that is not there
            self._socket.set(zmq.SNDHWM, 2)
            self._socket.set(zmq.RECONNECT_IVL_MAX, 1000)
            if keys is not None:
                secure_client(self._socket, keys)
            self._socket.connect(address)
            self._welcome(connect_timeout_s)
        except zmq.ZMQError as error:
            self.close()
            raise ValueError(
                f"{address} is no address of a policy server ({error.strerror}); expected tcp://HOST:PORT"
            ) from error
        except BaseException:
            self.close()
            raise

    def act(self, observation: np.ndarray, goal: np.ndarray) -> PolicyOutput:
        """One inference over there; both images (H, W, 3) uint8 RGB of any size.

        PolicyUnavailable where no answer came in time, or another policy's.
        """
        observation, goal = self._images(observation, goal)
        fields = self._ask("action", self._timeout_s, "act", observation=observation.tobytes(), goal=goal.tobytes())
        if fields["fingerprint"] != self.fingerprint:
            raise PolicyUnavailable(
                f"the server at {self._address} now runs another policy; start again to use that one"
            )
        if len(fields["action"]) != 28:
            raise PolicyUnavailable(
                f"the server at {self._address} answered {len(fields['action'])} bytes, expected 7 numbers"
            )
        steps = fields["steps_to_goal"]
        return PolicyOutput(np.frombuffer(fields["action"], "<f4").copy(), None if math.isnan(steps) else steps)

    def gripper_rule(self) -> StickyGripper:
        """A new gripper rule as the policy's contract states it."""
        return StickyGripper(self.contract.gripper_threshold, self.contract.gripper_steps)

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def _welcome(self, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while True:
            try:
                fields = self._ask("welcome", min(0.5, max(0.0, end - time.monotonic())), "hello")
                break
            except PolicyUnavailable as error:
                if time.monotonic() >= end:
                    raise RuntimeError(
                        f"no policy server answers at {self._address} within {timeout_s:.0f} s; is `mqe serve` running there, is the port "
                        "open, and do the keys fit?"
                    ) from error
                time.sleep(0.05)
        try:
            values = {
                key: tuple(value) if isinstance(value, list) else value for key, value in fields["contract"].items()
            }
            self.contract = BundleContract(**values)
        except (TypeError, BundleError) as error:
            raise RuntimeError(
                f"the server at {self._address} is of another version ({error}); update one of the two"
            ) from error
        self.domain, self.fingerprint = self.contract.domain, fields["fingerprint"]
        self._images = PolicyImages(self.contract.image_size)

    def _ask(self, expected: str, timeout_s: float, kind: str, **fields: object) -> dict:
        """The fields of the answer to this very question."""
        end = time.monotonic() + timeout_s
        self._id += 1
        try:
            self._socket.send(wire.pack(kind, id=self._id, **fields), zmq.NOBLOCK)
        except zmq.Again as error:
            raise PolicyUnavailable(f"no connection to the policy server at {self._address}") from error
        while self._socket.poll(max(0.0, 1e3 * (end - time.monotonic()))):
            try:
                answered, answer = wire.unpack(self._socket.recv(), "welcome", "action", "error")
            except wire.WireError as error:
                raise PolicyUnavailable(
                    f"the server at {self._address} does not speak this protocol: {error}"
                ) from error
            if answered == "error":
                raise PolicyUnavailable(f"the policy server at {self._address} refused: {answer['text']}")
            if answered == expected and answer["id"] == self._id:
                return answer
            self.late += 1
        raise PolicyUnavailable(f"no answer from the policy server at {self._address} within {1e3 * timeout_s:.0f} ms")
