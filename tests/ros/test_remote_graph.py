"""Promise: with policy_server the graph acts on what a server computes; without its answers the arm gets no
command, and it goes on by itself once they come again.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("mqe_bringup", reason="the ROS workspace is not built: make setup")

from mqe_bringup.graph import build_graph
from mqe_bringup.supervisor import Supervisor
from mqe_core.runtime.remote.remote_policy import RemotePolicy
from mqe_interfaces.msg import ArmStatus, PolicyStatus


@pytest.fixture
def serve(constant_policy: Path) -> Iterator[Callable[[], tuple[str, subprocess.Popen]]]:
    """Start `mqe serve`; the same address every time."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    processes = []

    def start() -> tuple[str, subprocess.Popen]:
        command = [
            sys.executable,
            "-m",
            "mqe_core.cli",
            "serve",
            "--policy",
            str(constant_policy),
            "--bind",
            address,
            "--without-keys",
        ]
        processes.append(subprocess.Popen(command))
        RemotePolicy(address, keys=None, connect_timeout_s=60.0).close()
        return address, processes[-1]

    yield start
    for process in processes:
        process.terminate()
        assert process.wait(10) in (0, -9)


def test_a_served_policy_drives_the_arm_and_its_loss_holds_it(
    serve, client, synthetic_store: Path, user_folder: Path, tmp_path: Path
) -> None:
    address, server = serve()
    arguments = {
        "backend": "mock",
        "policy_server": address,
        "server_keys": "none",
        "camera": str(synthetic_store),
        "goal": "corner",
    }
    graph = build_graph(arguments)
    assert any(f"policy: {address} (a server's; constant" in line for line in graph.banner)
    supervisor = Supervisor(graph.environment, log_folder=tmp_path)
    supervisor.start(graph.processes)
    try:
        for name in ("/policy/status", "/arm/status"):
            client.wait(lambda name=name: supervisor.ended() or client.newest(name), f"the first message on {name}")
        assert supervisor.ended() is None, supervisor.log_tail("policy_node")
        client.wait(lambda: client.newest("/arm/status").state == ArmStatus.MOVING, "a motion")
        server.kill()
        killed = time.monotonic()
        client.wait(lambda: client.newest("/policy/status").state == PolicyStatus.WAITING, "the loss of the server")
        assert client.newest("/policy/status").reason.startswith("no_answer: no ")
        client.wait(lambda: client.newest("/arm/status").state == ArmStatus.READY, "the arm's hold")
        assert time.monotonic() - killed < 3.0
        before = len(client.heard["/policy/command"])
        client.spin(1.0)
        assert len(client.heard["/policy/command"]) == before
        serve()
        client.wait(lambda: client.newest("/arm/status").state == ArmStatus.MOVING, "a motion again")
    finally:
        codes = supervisor.stop()
    assert set(codes.values()) == {0}


def test_a_missing_server_and_two_policies_are_refused_before_anything_starts(
    constant_policy: Path, user_folder: Path
) -> None:
    with pytest.raises(RuntimeError, match="is `mqe serve` running there"):
        build_graph({"policy_server": "tcp://127.0.0.1:9", "server_keys": "none", "goal": "corner"})
    with pytest.raises(ValueError, match="exclude each other"):
        build_graph({"policy_server": "tcp://127.0.0.1:9", "policy": str(constant_policy), "goal": "corner"})
    with pytest.raises(FileNotFoundError, match="--make-keys"):
        build_graph({"policy_server": "tcp://127.0.0.1:9", "goal": "corner"})
    with pytest.raises(ValueError, match="expected tcp://HOST:PORT"):
        build_graph({"policy_server": "http://gpu-box:5557", "server_keys": "none", "goal": "corner"})
