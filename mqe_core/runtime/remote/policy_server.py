"""PolicyServer: one bundle behind a ZeroMQ socket, for a robot's computer that is too slow for it."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from zmq.auth.thread import ThreadAuthenticator

from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.contract import NONE_CHOSEN
from mqe_core.robot.arrays import Images
from mqe_core.runtime.addresses import POLICY_PORT, parse_address
from mqe_core.runtime.remote import wire
from mqe_core.runtime.remote.keys import ClientKeys, secure_server

MAX_BATCH = 16  # requests of different clients in one inference
_MAX_READ = 256  # messages taken from the socket before computing goes on, however many arrive

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Request:
    id: int
    observation: Images  # (S, S, 3)
    goal: Images
    last: int | None  # the candidate chosen before; None: asked for an action alone


class PolicyServer:
    """Answers with the bundle's outputs. Only the newest request of a client counts: an older one is of a
    moment that has passed.

    Args:
        address: tcp://host:port or ipc://…, or as `parse_address` has it; a port `*` is chosen, and stands in
            `address` afterwards.
        keys: folder of the keys; None lets everybody in, and is refused where others could reach the address.
    """

    def __init__(self, bundle: PolicyBundle, address: str, keys: Path | None) -> None:
        where = parse_address(address, POLICY_PORT, binds=True)
        if keys is None and not where.is_local:
            raise ValueError(
                f"{address} can be reached from other machines, and without keys by anybody there; make keys (mqe "
                "serve --make-keys) "
                "or bind to tcp://127.0.0.1:PORT"
            )
        self.counts: Counter[str] = Counter()  # answered, superseded, malformed, refused
        self._bundle = bundle
        self._context = zmq.Context()
        self._authenticator: ThreadAuthenticator | None = None
        self._clients: ClientKeys | None = None  # None: everybody
        self._socket = self._context.socket(zmq.ROUTER)
        try:
            wire.prepare(self._socket)
            if keys is not None:
                secure_server(self._socket, keys)  # looks for the files first
                self._authenticator = ThreadAuthenticator(self._context)
                self._authenticator.start()
                self._clients = ClientKeys(keys)
                self._authenticator.configure_curve_callback(credentials_provider=self._clients)
            where.prepare(self._socket)
            self._socket.bind(where.text)
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
                frames = self._receive()
            except zmq.Again:
                break
            client, *rest = (frame.bytes for frame in frames)
            # Encryption asks for the key once, when the connection begins; a key may be deleted after that.
            if self._clients is not None and not self._clients.allows(_key_of(frames[0])):
                self.counts["refused"] += 1
                self._send(client, wire.pack("error", id=0, text="this client's key was deleted on the server"))
                continue
            try:
                if len(rest) != 1:
                    raise wire.WireError(f"expected one frame, got {'several' if rest else 'none'}")
                kind, fields = wire.unpack(rest[0], "hello", "act", "choose")
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

    def _receive(self) -> list[zmq.Frame]:
        """The next message's first frames: its sender, the only one of ours, and one that is too many. A message may
        have millions, which are passed over. zmq.Again where none waits.
        """
        frames = [self._socket.recv(zmq.NOBLOCK, copy=False)]
        is_more = frames[0].more
        while is_more:
            if len(frames) < 3:
                frames.append(self._socket.recv(copy=False))
                is_more = frames[-1].more
            else:
                self._socket.recv()
                is_more = bool(self._socket.get(zmq.RCVMORE))
        return frames

    def _request(self, fields: dict[str, Any]) -> _Request:
        size = self._bundle.contract.image_size
        images = []
        for name in ("observation", "goal"):
            if len(fields[name]) != 3 * size * size:
                raise wire.WireError(
                    f"{name}: expected {3 * size * size} bytes, {size} x {size} RGB, got {len(fields[name])}"
                )
            images.append(np.frombuffer(fields[name], np.uint8).reshape(size, size, 3))
        observation, goal = images
        return _Request(fields["id"], observation, goal, self._last(fields))

    def _last(self, fields: dict[str, Any]) -> int | None:
        """The index in a message `choose`; None in a message `act`."""
        if "last" not in fields:
            return None
        contract, last = self._bundle.contract, int(fields["last"])
        if not contract.chooses:
            raise wire.WireError("this policy has one answer and chooses among no candidates: ask it to act")
        if not NONE_CHOSEN <= last < (contract.candidates or 1):
            raise wire.WireError(
                f"last: expected -1 or the number of one of {contract.candidates} candidates, got {last}"
            )
        return last

    def _answer(self, batch: list[tuple[bytes, _Request]]) -> None:
        observations, goals = (
            np.stack([getattr(request, name) for _, request in batch]) for name in ("observation", "goal")
        )
        last = [NONE_CHOSEN if request.last is None else request.last for _, request in batch]
        given = (np.array(last, np.int64),) if self._bundle.contract.chooses else ()
        outputs = self._bundle.run(observations, goals, *given)
        self.counts["answered"] += len(batch)
        steps = outputs.get("steps_to_goal", np.full(len(batch), math.nan))
        for row, (client, request) in enumerate(batch):
            fields: dict[str, object] = {
                "id": request.id,
                "action": outputs["action"][row].astype("<f4").tobytes(),
                "steps_to_goal": float(steps[row]),
                "fingerprint": self._bundle.fingerprint,
            }
            if request.last is not None:
                fields["chosen"] = int(outputs["chosen"][row])
                for name in ("candidates", "distances"):
                    fields[name] = outputs[name][row].astype("<f4").tobytes()
            self._send(client, wire.pack("action" if request.last is None else "choice", **fields))

    def _welcome(self, client: bytes, request_id: int) -> None:
        answer = wire.pack(
            "welcome",
            id=request_id,
            contract=self._bundle.contract.stated(),
            fingerprint=self._bundle.fingerprint,
        )
        self._send(client, answer)

    def _send(self, client: bytes, message: bytes) -> None:
        try:
            self._socket.send_multipart([client, message], zmq.NOBLOCK)
        except zmq.ZMQError as error:  # it went away, or reads nothing
            logger.debug("no answer sent: %s", error)


def _key_of(frame: zmq.Frame) -> bytes:
    """The public key (Z85) of the client that sent it, as the authenticator found it."""
    return str(frame.get("User-Id")).encode()  # type: ignore[arg-type]  # pyzmq's stubs know no metadata
