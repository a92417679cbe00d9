"""Promise: fifty starts and stops of the whole graph leave nothing behind: no process, no shared memory, no exit code
but 0.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mqe_bringup.graph import build_graph
from mqe_bringup.supervisor import Supervisor
from tests.ros.ros_helpers import Client

CYCLES = 50


def shared_memory() -> int:
    """Files of Fast DDS in shared memory."""
    return sum(1 for name in os.listdir("/dev/shm") if "fastrtps" in name or "fastdds" in name)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_fifty_starts_and_stops_leave_nothing_behind(
    listener: Client, constant_policy: Path, synthetic_store: Path, user_folder: Path, tmp_path: Path, note
) -> None:
    graph = build_graph(
        {"backend": "mock", "policy": str(constant_policy), "camera": str(synthetic_store), "goal": "corner"}
    )
    files, seconds = [], []
    for cycle in range(CYCLES):
        listener.heard["/arm/status"].clear()
        listener.heard["/policy/command"].clear()
        begun = time.monotonic()
        supervisor = Supervisor(graph.environment, log_folder=tmp_path)
        supervisor.start(graph.processes)
        try:
            listener.wait(lambda s=supervisor: s.ended() or listener.heard["/policy/command"], "the first command")
        finally:
            codes = supervisor.stop()
        assert set(codes.values()) == {0}, (cycle, codes, {name: supervisor.log_tail(name) for name in codes})
        seconds.append(time.monotonic() - begun)
        files.append(shared_memory())
    note(
        f"{CYCLES} starts and stops of the graph",
        f"every exit code 0, {sorted(seconds)[CYCLES // 2]:.1f} s each (median)",
        "-",
        f"files in shared memory: {files[1]} after the second, {files[-1]} after the last",
    )
    assert files[-1] <= files[1] + 2, files
