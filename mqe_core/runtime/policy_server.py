"""PolicyServer: one bundle behind a ZeroMQ socket, for a robot's computer that is too slow for it."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zmq
from zmq.auth.thread import ThreadAuthenticator

from mqe_core.bundle import PolicyBundle
from mqe_core.runtime import wire
from mqe_core.runtime.keys import is_local, secure_server

MAX_BATCH = 16  # requests of different clients in one inference
_MAX_READ = 256  # messages taken from the socket before computing goes on, however many arrive

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Request:
    id: int
    observation: np.ndarray  # (S, S, 3)
    goal: np.ndarray


class PolicyServer:
    """Answers with the bundle's outputs. Only the newest request of a client counts: an older one is of a
    moment that has passed.

    Args:
        address: tcp://host:port or ipc://…; a port `*` is chosen, and stands in `address` afterwards.
        keys: folder of the keys; None lets everybody in, and is refused where others could reach the address.
    """

    def __init__(self, bundle: PolicyBundle, address: str, keys: Path | None) -> None:
        wire.check_port(address)
        if keys is None and not is_local(address):
            raise ValueError(
                f"{address} can be reached from other machines, and without keys by anybody there; make keys (mqe serve --make-keys) "
                "or bind to tcp://127.0.0.1:PORT"
            )
        self.counts: Counter[str] = Counter()  # answered, superseded, malformed
        self._bundle = bundle
        self._context = zmq.Context()
        self._authenticator: ThreadAuthenticator | None = None
        self._socket = self._context.socket(zmq.ROUTER)
        try:
            wire.prepare(self._socket)
            if keys is not None:
                secure_server(self._socket, keys)  # looks for the files first
                self._authenticator = ThreadAuthenticator(self._context)
                self._authenticator.start()
                self._authenticator.configure_curve(domain="*", location=str(keys / "clients"))
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self.close()
            raise ValueError(f"cannot bind to {address}: {error.strerror}") from error
        except BaseException:
            self.close()
            raise
        self.address = self._socket.get_string(zmq.LAST_ENDPOINT)

    def serve(self, stopping: Callable[[], bool]) -> None:
        """Answer until `stopping()` is true; it is asked ten times a second."""
        while not stopping():
            if self._socket.poll(100):
                requests = self._read()
                while requests:
                    batch = [requests.popitem() for _ in range(min(len(requests), MAX_BATCH))]
                    self._answer(batch)

    def close(self) -> None:
        self._socket.close()
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.term()

    def _read(self) -> dict[bytes, _Request]:
        """The newest request of each client that waits; what needs no inference is answered at once."""
        newest: dict[bytes, _Request] = {}
        for _ in range(_MAX_READ):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            client, *rest = frames
            try:
                if len(rest) != 1:
                    raise wire.WireError(f"expected one frame, got {len(rest)}")
                kind, fields = wire.unpack(rest[0], "hello", "act")
                if kind == "hello":
                    self._welcome(client, fields["id"])
                    continue
                request = self._request(fields)
            except wire.WireError as error:
                self.counts["malformed"] += 1
                self._send(client, wire.pack("error", id=0, text=str(error)))
                continue
            self.counts["superseded"] += client in newest
            newest[client] = request
        return newest

    def _request(self, fields: dict) -> _Request:
        size = self._bundle.contract.image_size
        images = []
        for name in ("observation", "goal"):
            if len(fields[name]) != 3 * size * size:
                raise wire.WireError(
                    f"{name}: expected {3 * size * size} bytes, {size} x {size} RGB, got {len(fields[name])}"
                )
            images.append(np.frombuffer(fields[name], np.uint8).reshape(size, size, 3))
        return _Request(fields["id"], *images)

    def _answer(self, batch: list[tuple[bytes, _Request]]) -> None:
        observations, goals = (
            np.stack([getattr(request, name) for _, request in batch]) for name in ("observation", "goal")
        )
        outputs = self._bundle.run(observations, goals)
        self.counts["answered"] += len(batch)
        actions = outputs["action"].astype("<f4")
        steps = outputs.get("steps_to_goal", np.full(len(batch), math.nan))
        for (client, request), action, distance in zip(batch, actions, steps):
            answer = wire.pack(
                "action",
                id=request.id,
                action=action.tobytes(),
                steps_to_goal=float(distance),
                fingerprint=self._bundle.fingerprint,
            )
            self._send(client, answer)

    def _welcome(self, client: bytes, request_id: int) -> None:
        answer = wire.pack(
            "welcome",
            id=request_id,
            contract=dataclasses.asdict(self._bundle.contract),
            fingerprint=self._bundle.fingerprint,
        )
        self._send(client, answer)

    def _send(self, client: bytes, message: bytes) -> None:
        try:
            self._socket.send_multipart([client, message], zmq.NOBLOCK)
        except zmq.ZMQError as error:  # it went away, or reads nothing
            logger.debug("no answer sent: %s", error)
