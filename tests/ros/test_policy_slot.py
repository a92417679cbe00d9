"""Promise: the policy node publishes at a slot that it measured when it was configured, or was given; its diagnostics
and its log say which, and a policy that is too slow for any is said with the remedy.

The policy node alone, without camera and arm.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from diagnostic_msgs.msg import DiagnosticStatus

from mqe_bringup.process import node
from mqe_bringup.supervisor import Supervisor
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.runtime.remote.policy_server import PolicyServer
from tests.ros.ros_helpers import Client, Lifecycle, diagnosed, figures


@pytest.fixture
def policy_node(constant_policy: Path, client: Client, tmp_path: Path) -> Iterator[tuple[Lifecycle, Supervisor]]:
    """Unconfigured."""
    supervisor = Supervisor({}, log_folder=tmp_path)
    parameters = {"policy": str(constant_policy), "camera_domain": "sim", "self_activate": False}
    supervisor.start([node("policy_node", parameters)])
    yield Lifecycle(client), supervisor
    assert supervisor.stop() == {"policy_node": 0}, supervisor.log_tail("policy_node")


def test_a_bundles_slot_is_measured_unless_it_is_given(
    policy_node: tuple[Lifecycle, Supervisor], client: Client
) -> None:
    lifecycle, supervisor = policy_node
    begun = time.monotonic()
    assert lifecycle.change("configure")
    assert time.monotonic() - begun < 10.0
    values = figures(diagnosed(client, "inactive"))
    assert 20.0 < float(values["slot_ms"]) <= 100.0
    measured = r"measured: (p99|slowest) [0-9.]+ ms of [0-9]+ answers, with a margin of 20 ms"
    assert re.fullmatch(measured, values["slot"]), values["slot"]
    log = supervisor.log_tail("policy_node", lines=100)
    assert f"ms after each tick ({values['slot']})" in log

    assert lifecycle.change("cleanup")
    lifecycle.set(slot_s=0.15)
    assert lifecycle.change("configure")
    values = figures(diagnosed(client, "inactive"))
    assert (values["slot_ms"], values["slot"]) == ("150.0", "given")

    assert lifecycle.change("cleanup")
    lifecycle.set(slot_s=0.2)
    assert not lifecycle.change("configure")
    said = diagnosed(client, "unconfigured").message
    assert "the parameter slot_s must lie within the control period of 0.2 s; got 0.2" in said


class SlowBundle:
    """Thinks for a while."""

    def __init__(self, path: Path, delay_s: float) -> None:
        self._bundle, self.delay_s = PolicyBundle.open(path), delay_s
        self.contract, self.fingerprint = self._bundle.contract, self._bundle.fingerprint

    def run(self, observation: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(self.delay_s)
        return self._bundle.run(observation, goal)


def test_a_servers_round_trip_is_measured_and_one_that_is_too_slow_is_said(
    policy_node: tuple[Lifecycle, Supervisor], client: Client, constant_policy: Path
) -> None:
    lifecycle, _ = policy_node
    bundle, stop = SlowBundle(constant_policy, 0.02), threading.Event()
    server = PolicyServer(bundle, "tcp://127.0.0.1:*", None)
    thread = threading.Thread(target=server.serve, args=(stop.is_set,))
    thread.start()
    try:
        lifecycle.set(policy_server=server.address, server_keys="none")
        assert lifecycle.change("configure")
        values = figures(diagnosed(client, "inactive"))
        assert float(values["slot_ms"]) > 40.0

        assert lifecycle.change("cleanup")
        bundle.delay_s = 0.12  # longer than a reply is waited for
        assert lifecycle.change("configure", "activate")
        status = diagnosed(client, "active")
        values = figures(status)
        assert values["slot_ms"] == "100.0" and "calls were not answered in time" in values["slot"]
        assert status.level == DiagnosticStatus.WARN
        for remedy in ("smaller policy", "threads", "mqe serve"):
            assert remedy in status.message
        assert lifecycle.change("deactivate", "cleanup")
    finally:
        stop.set()
        thread.join(10)
        server.close()
