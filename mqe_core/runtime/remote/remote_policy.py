"""RemotePolicy: a policy that a server computes. What does not answer in time holds the arm."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from mqe_core.policy.contract import NONE_CHOSEN, BundleContract, BundleError
from mqe_core.robot.arrays import Float32s, Images
from mqe_core.runtime.addresses import POLICY_PORT, parse_address
from mqe_core.runtime.policy_images import PolicyImages
from mqe_core.runtime.policy_side import Candidates, PolicyOutput, PolicyUnavailable, StickyGripper
from mqe_core.runtime.remote import wire
from mqe_core.runtime.remote.keys import secure_client


class RemotePolicy:
    """A connection to a PolicyServer. Both images are resized here, so little travels.

    An answer to an earlier question is dropped, never executed. A server that is lost and comes back is found again by
    itself, and refused if it then runs another policy. Not for two threads at once.

    Args:
        address: tcp://host:port of the server, or as `parse_address` has it.
        keys: folder of the keys; None for a server without.
        reply_timeout_s: how long one answer may take; half a control period leaves time to act on it.
        connect_timeout_s: how long the server is waited for at the start.

    At the start RuntimeError, with the remedy, where no server answers; ValueError where the address is none.
    """

    def __init__(
        self, address: str, *, keys: Path | None, reply_timeout_s: float = 0.1, connect_timeout_s: float = 5.0
    ) -> None:
        where = parse_address(address, POLICY_PORT)
        self.late = 0  # answers that came after their time
        self._address, self._timeout_s = where.text, reply_timeout_s
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
            where.prepare(self._socket)
            self._socket.connect(where.text)
            self._welcome(connect_timeout_s)
        except zmq.ZMQError as error:
            self.close()
            raise ValueError(
                f"{address} is no address of a policy server ({error.strerror}); expected tcp://HOST:PORT"
            ) from error
        except BaseException:
            self.close()
            raise

    def prepare(self, goal: Images) -> None:
        """Nothing: the server meets a goal with the first question about it."""

    def act(self, observation: Images, goal: Images, last: int = NONE_CHOSEN) -> PolicyOutput:
        """One inference over there; both images (H, W, 3) uint8 RGB of any size; `last` as in :class:`OnnxPolicy`.

        PolicyUnavailable where no answer came in time, or another policy's.
        """
        observation, goal = self._images(observation, goal)
        images = {"observation": observation.tobytes(), "goal": goal.tobytes()}
        if self.contract.chooses:
            fields = self._ask("choice", self._timeout_s, "choose", **images, last=last)
        else:
            fields = self._ask("action", self._timeout_s, "act", **images)
        if fields["fingerprint"] != self.fingerprint:
            raise PolicyUnavailable(
                f"the server at {self._address} now runs another policy; start again to use that one"
            )
        steps = fields["steps_to_goal"]
        action = self._numbers(fields, "action", 7)
        outside = None if self._familiarity is None else self._familiarity.outside(observation)
        return PolicyOutput(action, None if math.isnan(steps) else steps, self._candidates(fields), outside)

    def _candidates(self, fields: dict[str, Any]) -> Candidates | None:
        """Of a policy that chooses."""
        if not self.contract.chooses:
            return None
        count, chosen = self.contract.candidates or 1, fields["chosen"]
        if not 0 <= chosen < count:
            raise PolicyUnavailable(f"the server at {self._address} chose number {chosen} of {count} candidates")
        actions = self._numbers(fields, "candidates", 7 * count).reshape(count, 7)
        return Candidates(chosen, actions, self._numbers(fields, "distances", count))

    def _numbers(self, fields: dict[str, Any], name: str, count: int) -> Float32s:
        if len(fields[name]) != 4 * count:
            raise PolicyUnavailable(
                f"the server at {self._address} answered {len(fields[name])} bytes, expected {count} numbers"
            )
        return np.frombuffer(fields[name], "<f4").copy()

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
                        f"no policy server answers at {self._address} within {timeout_s:.0f} s; is `mqe serve` "
                        "running there, is the port "
                        "open, and do the keys fit?"
                    ) from error
                time.sleep(0.05)
        try:
            values: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in fields["contract"].items()
            }
            self.contract = BundleContract(**values)
        except (TypeError, BundleError) as error:
            raise RuntimeError(
                f"the server at {self._address} is of another version ({error}); update one of the two"
            ) from error
        self.domain, self.fingerprint = self.contract.domain, fields["fingerprint"]
        self._images = PolicyImages(self.contract.image_size)
        self._familiarity = self.contract.familiarity

    def _ask(self, expected: str, timeout_s: float, kind: str, **fields: object) -> dict[str, Any]:
        """The fields of the answer to this very question."""
        end = time.monotonic() + timeout_s
        self._id += 1
        try:
            self._socket.send(wire.pack(kind, id=self._id, **fields), zmq.NOBLOCK)
        except zmq.Again as error:
            raise PolicyUnavailable(f"no connection to the policy server at {self._address}") from error
        while self._socket.poll(int(max(0.0, 1e3 * (end - time.monotonic())))):
            try:
                answered, answer = wire.unpack(self._socket.recv(), "welcome", "action", "choice", "error")
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
