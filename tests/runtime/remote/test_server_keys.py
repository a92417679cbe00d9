"""Promise: a policy server lets in only who has a key, and is itself known by one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mqe_core.policy.bundle import PolicyBundle
from mqe_core.runtime.addresses import parse_address
from mqe_core.runtime.policy_side import PolicyUnavailable
from mqe_core.runtime.remote.keys import make_keys
from mqe_core.runtime.remote.policy_server import PolicyServer
from mqe_core.runtime.remote.remote_policy import RemotePolicy
from tests.runtime.remote.running_server import ANY, picture


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "keys"
    make_keys(folder)
    return folder


def test_who_has_a_key_is_let_in_and_nobody_else(
    serve, connect, bundle: PolicyBundle, keys: Path, tmp_path: Path
) -> None:
    running = serve(bundle, keys=keys)
    assert connect(running, keys).act(picture(1), picture(2)).action.shape == (7,)
    stranger = tmp_path / "stranger"
    make_keys(stranger)
    (stranger / "server.key").write_bytes((keys / "server.key").read_bytes())  # knows the server, but is not known
    for wrong in (stranger, None):
        with pytest.raises(RuntimeError, match="no policy server answers"):
            connect(running, wrong, connect_timeout_s=1.0)
    assert connect(running, keys).act(picture(1), picture(2)).action.shape == (7,)


def test_a_false_server_is_not_believed(serve, connect, bundle: PolicyBundle, keys: Path, tmp_path: Path) -> None:
    impostor = tmp_path / "impostor"
    make_keys(impostor)
    (impostor / "clients" / "client.key").write_bytes((keys / "clients" / "client.key").read_bytes())
    with pytest.raises(RuntimeError, match="no policy server answers"):
        connect(serve(bundle, keys=impostor), keys, connect_timeout_s=1.0)


def test_keys_are_private_and_not_overwritten(keys: Path) -> None:
    assert (keys / "server.key_secret").stat().st_mode & 0o077 == 0 == keys.stat().st_mode & 0o077
    with pytest.raises(FileExistsError, match="locks out"):
        make_keys(keys)


@pytest.mark.parametrize(
    "address",
    ["tcp://0.0.0.0:5557", "tcp://*:5557", "tcp://192.168.1.7:5557", "tcp://robot:5557", "tcp://eth0:5557"]
    + ["tcp://[::]:5557", "[::]:5557", "::", "*", "*:5557", "0.0.0.0", "0:5557", "127.1:5557", "[fe80::1%eth0]:5557"],
)
def test_nobody_listens_to_the_network_without_keys(address: str, bundle: PolicyBundle) -> None:
    assert not parse_address(address, 5557, binds=True).is_local
    with pytest.raises(ValueError, match="--make-keys"):
        PolicyServer(bundle, address, None)


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:5557", "tcp://localhost:5557", "tcp://[::1]:5557", "ipc:///tmp/x"]
)
def test_this_machine_alone_is_local(address: str) -> None:
    assert parse_address(address, binds=True).is_local


@pytest.mark.parametrize("port", ["99999", "65536", "0", "-1", "http", ""])
def test_a_port_that_is_none_is_not_taken_for_another_one(port: str, bundle: PolicyBundle) -> None:
    for begin in (
        lambda address: PolicyServer(bundle, address, None),
        lambda address: RemotePolicy(address, keys=None),
    ):
        with pytest.raises(ValueError, match="with a port from 1 to 65535"):
            begin(f"tcp://127.0.0.1:{port}")


def test_missing_keys_name_the_remedy_and_nothing_else(
    bundle: PolicyBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(FileNotFoundError, match="mqe serve --make-keys"):
        PolicyServer(bundle, ANY, tmp_path)
    assert caplog.records == []


def until_refused(connected: RemotePolicy, seconds: float) -> float:
    """Seconds until the server refuses; asking goes on meanwhile, as a robot does."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        try:
            connected.act(picture(1), picture(2))
        except PolicyUnavailable:
            return time.monotonic() - begun
        time.sleep(0.1)
    raise AssertionError("never refused")


def test_a_key_that_is_deleted_is_refused_within_5_s_on_old_and_new_connections(
    serve, connect, bundle: PolicyBundle, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    make_keys(keys)
    running = serve(bundle, keys=keys)
    connected = connect(running, keys)
    connected.act(picture(1), picture(2))
    allowed = keys / "clients" / "client.key"
    key = allowed.read_bytes()
    allowed.unlink()
    assert until_refused(connected, 5.0) < 5.0
    with pytest.raises(RuntimeError, match="no policy server answers"):
        connect(running, keys, connect_timeout_s=1.0)
    allowed.write_bytes(key)  # and let in again, without a restart
    time.sleep(1.1)
    assert connect(running, keys).act(picture(1), picture(2)).action.shape == (7,)


def test_files_that_are_no_keys_are_left_out_and_hang_nothing(
    serve, connect, bundle: PolicyBundle, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    make_keys(keys)
    os.mkfifo(keys / "clients" / "pipe.key")
    (keys / "clients" / "folder.key").mkdir()
    (keys / "clients" / "none.key").write_bytes(b"\xff\xfe")
    with (keys / "clients" / "large.key").open("wb") as file:
        file.truncate(2**31)
    assert connect(serve(bundle, keys=keys), keys).act(picture(1), picture(2)).action.shape == (7,)
    (keys / "server.key").unlink()
    os.mkfifo(keys / "server.key")
    with pytest.raises(FileNotFoundError):
        RemotePolicy("tcp://127.0.0.1:5557", keys=keys)
