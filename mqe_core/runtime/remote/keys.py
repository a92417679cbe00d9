"""CURVE keys of a policy server and its clients: files in `~/.mqe/keys`, and what they are needed for.

`server.key_secret` stays on the server. `server.key` and `client.key_secret` go to the robot, into the same folder
there. The server lets in whoever has the secret key to one of `clients/*.key`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path

import zmq
import zmq.auth

from mqe_core.files.bounded import TEXT_BYTES, require_bounded
from mqe_core.files.kinds import KEYS
from mqe_core.files.outputs import check_folder
from mqe_core.user_files import user_folder

SERVER, CLIENT = "server", "client"
_READ_AGAIN_S = 1.0

logger = logging.getLogger(__name__)


def key_folder() -> Path:
    return user_folder() / "keys"


def make_keys(folder: Path) -> list[Path]:
    """Make a server's and a client's pair of keys; returns the files. FileExistsError where there are some, ValueError
    where the folder holds anything else.
    """
    existing = [path for path in (folder / f"{SERVER}.key_secret", folder / f"{CLIENT}.key_secret") if path.exists()]
    if existing:
        raise FileExistsError(
            f"{existing[0]} exists already; delete it to make new keys, which locks out whoever has the old ones"
        )
    check_folder(folder, KEYS, continues=(KEYS,))
    (folder / "clients").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    files: list[Path] = []
    for name in (SERVER, CLIENT):
        public, secret = map(Path, zmq.auth.create_certificates(folder, name))
        secret.chmod(0o600)
        files += [public, secret]
    allowed = folder / "clients" / f"{CLIENT}.key"
    (folder / f"{CLIENT}.key").replace(allowed)
    return [allowed if path.name == f"{CLIENT}.key" else path for path in files]


def secure_server(socket: zmq.Socket[bytes], folder: Path) -> None:
    """Let in only clients with a known key. FileNotFoundError with the remedy where the server has none."""
    public, secret = _load(folder / f"{SERVER}.key_secret")
    if not any((folder / "clients").glob("*.key")):
        raise FileNotFoundError(f"{folder / 'clients'} holds no client's public key: nobody could connect")
    socket.curve_publickey, socket.curve_secretkey, socket.curve_server = public, secret, True


class ClientKeys:
    """Who is let in: the public keys in `clients`, read again while the server runs. A key that is deleted there is
    refused from then on, also on a connection that stands; one that is added is let in.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "clients"
        self._read_at = -math.inf
        self._keys: frozenset[bytes] = frozenset()

    def allows(self, key: bytes) -> bool:
        """Whether the client with this public key (40 characters, Z85) may come in. Safe from any thread."""
        now = time.monotonic()
        if now - self._read_at > _READ_AGAIN_S:
            self._keys, self._read_at = frozenset(self._read()), now
        return key in self._keys

    def callback(self, domain: str, key: bytes) -> bool:
        """What zmq's authenticator asks at each new connection."""
        return self.allows(key)

    def _read(self) -> Iterator[bytes]:
        for path in sorted(self._folder.glob("*.key")):
            try:
                require_bounded(path, TEXT_BYTES)
                yield zmq.auth.load_certificate(path)[0]
            except (OSError, ValueError) as error:
                logger.warning("a client's key is left out: %s", error)


def secure_client(socket: zmq.Socket[bytes], folder: Path) -> None:
    """Prove who we are, and that the other end is the server. FileNotFoundError with the remedy."""
    server, _ = _load(folder / f"{SERVER}.key", secret=False)
    public, secret = _load(folder / f"{CLIENT}.key_secret")
    socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = public, secret, server


def _load(path: Path, *, secret: bool = True) -> tuple[bytes, bytes | None]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; `mqe serve --make-keys` makes the keys on the server, and server.key and "
            "client.key_secret "
            f"belong into {path.parent} on the robot's computer"
        )
    try:
        require_bounded(path, TEXT_BYTES)
        public, private = zmq.auth.load_certificate(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is no key file: {error}") from error
    if secret and private is None:
        raise ValueError(f"{path} holds no secret key")
    return public, private
