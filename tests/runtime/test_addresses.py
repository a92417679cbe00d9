"""Promise: an address is taken as people type it, and none is taken for another one."""

from __future__ import annotations

import socket

import pytest

from mqe_core.closed_loop.rigs import bridge_server_rig
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.runtime.addresses import parse_address
from mqe_core.runtime.remote.policy_server import PolicyServer
from mqe_core.runtime.remote.remote_policy import RemotePolicy

PORT = 5577


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("5577", "tcp://127.0.0.1:5577"),
        (":5577", "tcp://127.0.0.1:5577"),
        ("tcp://5577", "tcp://127.0.0.1:5577"),
        ("127.0.0.1:5577", "tcp://127.0.0.1:5577"),
        ("127.0.0.1", "tcp://127.0.0.1:5557"),
        ("localhost:5577", "tcp://localhost:5577"),
        (" tcp://localhost:5577 ", "tcp://localhost:5577"),
        ("TCP://localhost:5577/", "tcp://localhost:5577"),
        ("gpu-box", "tcp://gpu-box:5557"),
        ("gpu_box.local:1", "tcp://gpu_box.local:1"),
        ("[::1]:5577", "tcp://[::1]:5577"),
        ("tcp://[::1]:5577", "tcp://[::1]:5577"),
        ("::1", "tcp://[::1]:5557"),
        ("[::1]", "tcp://[::1]:5557"),
        ("fd00::7", "tcp://[fd00::7]:5557"),
        ("tcp://[fe80::1%eth0]:5577", "tcp://[fe80::1%eth0]:5577"),
        ("ipc:///tmp/socket", "ipc:///tmp/socket"),
    ],
)
def test_what_people_type_is_understood(typed: str, meant: str) -> None:
    assert parse_address(typed, 5557).text == meant
    assert parse_address(typed, 5557, binds=True).text == meant


@pytest.mark.parametrize(
    "typed",
    ["", "tcp://", "http://robot:5577", "robot:99999", "robot:0", "robot:-1", "robot:", "robot:http", "99999", "0"]
    + [
        "a:b:5577",
        "[::1",
        "::1]:5577",
        "[robot]:5577",
        "[127.0.0.1]:5577",
        "[]:5577",
        "robot :5577",
        "robot;eth0:5577",
        "user@robot:5577",
        "fe80::1%eth0:5577",
        "::1%lo:5577",
        "[::1%a:b]:5577",
        "127.0.0.1 : 5577",
        "5577 5578",
    ]
    + [
        "tcp://robot:80@0.0.0.0:5577",
        "robot/path:5577",
        "robot?x:5577",
        "٥٥٧٧",
        "robot:٥٥٧٧",
        "-x:5577",
        "*:5577",
        "robot:*",
    ],
)
def test_anything_else_is_refused_in_one_line(typed: str) -> None:
    with pytest.raises(ValueError, match=r"expected tcp://HOST:PORT with a port from 1 to 65535.*\[::1\]") as error:
        parse_address(typed, None if typed in ("", "tcp://") else 5557)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("typed", ["0.0.0.0:5577", "[::]:5577", "::", "tcp://[0:0:0:0:0:0:0:0]:5577"])
def test_a_client_needs_one_address_of_the_server(typed: str) -> None:
    assert not parse_address(typed, 5557, binds=True).is_local
    with pytest.raises(ValueError, match="is where a server listens"):
        parse_address(typed, 5557)


@pytest.mark.parametrize("typed", ["127.0.0.1:1", "127.8.9.1:1", "localhost:1", "[::1]:1", "1", "ipc:///tmp/x"])
def test_this_machine_is_local(typed: str) -> None:
    assert parse_address(typed, binds=True).is_local


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as found:
            found.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["", "127.0.0.1:", "localhost:", "[::1]:", "tcp://[::1]:"])
def test_server_and_client_meet_at_what_was_typed(host: str, make_bundle) -> None:
    if "::1" in host and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    import threading

    typed = f"{host}{free_port()}"
    server, stopping = PolicyServer(PolicyBundle.open(make_bundle()), typed, None), threading.Event()
    thread = threading.Thread(target=server.serve, args=(stopping.is_set,))
    thread.start()
    try:
        client = RemotePolicy(typed, keys=None)
        assert client.domain == "sim"
        client.close()
    finally:
        stopping.set()
        thread.join()
        server.close()


def test_a_port_is_given_once(spec) -> None:
    class Arguments:
        host, port, camera_topic = "robot:5570", 5571, None

    with pytest.raises(ValueError, match="--host robot:5570 and --port 5571 contradict each other"):
        bridge_server_rig(Arguments(), spec, goal=object())
