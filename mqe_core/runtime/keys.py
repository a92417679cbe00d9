"""CURVE keys of a policy server and its clients: files in `~/.mqe/keys`, and what they are needed for.

`server.key_secret` stays on the server; `server.key` and `client.key_secret` go to the robot, in the same
folder there; the server lets in whoever has a secret key to one of `clients/*.key`.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

import zmq
import zmq.auth

from mqe_core.user_files import user_folder

SERVER, CLIENT = "server", "client"


def key_folder() -> Path:
    return user_folder() / "keys"


def make_keys(folder: Path) -> list[Path]:
    """Make a server's and a client's pair of keys; returns the files. FileExistsError where there are some."""
    existing = [path for path in (folder / f"{SERVER}.key_secret", folder / f"{CLIENT}.key_secret") if path.exists()]
    if existing:
        raise FileExistsError(
            f"{existing[0]} exists already; delete it to make new keys, which locks out whoever has the old ones"
        )
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


def secure_server(socket: zmq.Socket, folder: Path) -> None:
    """Let in only clients with a known key. FileNotFoundError with the remedy where the server has none."""
    public, secret = _load(folder / f"{SERVER}.key_secret")
    if not any((folder / "clients").glob("*.key")):
        raise FileNotFoundError(f"{folder / 'clients'} holds no client's public key: nobody could connect")
    socket.curve_publickey, socket.curve_secretkey, socket.curve_server = public, secret, True


def secure_client(socket: zmq.Socket, folder: Path) -> None:
    """Prove who we are, and that the other end is the server. FileNotFoundError with the remedy."""
    server, _ = _load(folder / f"{SERVER}.key", secret=False)
    public, secret = _load(folder / f"{CLIENT}.key_secret")
    socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = public, secret, server


def is_local(address: str) -> bool:
    """Whether nobody outside this machine can reach a socket bound to `address` (tcp://host:port, ipc://…)."""
    if address.startswith(("ipc://", "inproc://")):
        return True
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name or an interface; only one of them is certain
        return host == "localhost"


def _load(path: Path, *, secret: bool = True) -> tuple[bytes, bytes | None]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; `mqe serve --make-keys` makes the keys on the server, and server.key and client.key_secret "
            f"belong into {path.parent} on the robot's computer"
        )
    try:
        public, private = zmq.auth.load_certificate(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is no key file: {error}") from error
    if secret and private is None:
        raise ValueError(f"{path} holds no secret key")
    return public, private
