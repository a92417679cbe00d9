"""Promise: a policy on another machine answers as the bundle does, in time or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from mqe_core.policy.bundle import PolicyBundle
from mqe_core.robot.geometry import make_pose
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.onnx_policy import OnnxPolicy
from mqe_core.runtime.policy_reasons import NO_ANSWER
from mqe_core.runtime.policy_side import PolicySide, PolicyUnavailable, StickyGripper
from mqe_core.runtime.robot import Frame
from tests.runtime.remote.running_server import PATIENCE_S, Running, picture


class SlowBundle:
    """A bundle that thinks for a while, when told to."""

    def __init__(self, bundle: PolicyBundle) -> None:
        self.delay_s = 0.0
        self.contract, self.fingerprint = bundle.contract, bundle.fingerprint
        self._bundle = bundle

    def run(self, observation: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(self.delay_s)
        return self._bundle.run(observation, goal)


def eventually(act: Callable[[], object], what: str):
    end = time.monotonic() + 3 * PATIENCE_S
    while True:
        try:
            return act()
        except PolicyUnavailable:
            assert time.monotonic() < end, what
            time.sleep(0.05)


def test_it_answers_as_the_bundle_does(serve, connect, bundle: PolicyBundle) -> None:
    remote, local = connect(serve(bundle)), OnnxPolicy(bundle)
    assert remote.contract == bundle.contract and remote.domain == local.domain
    for k in range(5):
        here, there = local.act(picture(k), picture(-k - 1 + 100)), remote.act(picture(k), picture(-k - 1 + 100))
        np.testing.assert_array_equal(there.action, here.action)
        assert there.steps_to_goal == here.steps_to_goal


def test_many_clients_get_their_own_answers(serve, connect, bundle: PolicyBundle) -> None:
    running = serve(bundle)
    local = OnnxPolicy(bundle)
    clients = [connect(running) for _ in range(8)]
    wrong: list[int] = []

    def ask(k: int) -> None:
        expected = local_answers[k]
        for _ in range(20):
            if not np.allclose(clients[k].act(picture(k), picture(50)).action, expected, atol=1e-6):
                wrong.append(k)

    local_answers = [local.act(picture(k), picture(50)).action for k in range(8)]
    assert len({answer.tobytes() for answer in local_answers}) == 8
    threads = [threading.Thread(target=ask, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and running.server.counts["answered"] == 160


def test_a_late_answer_is_never_executed(serve, connect, bundle: PolicyBundle) -> None:
    slow = SlowBundle(bundle)
    remote = connect(serve(slow), reply_timeout_s=0.1)
    slow.delay_s = 0.4
    with pytest.raises(PolicyUnavailable, match="within 100 ms"):
        remote.act(picture(1), picture(2))
    slow.delay_s = 0.0
    time.sleep(0.6)  # the late answer has arrived, and waits
    fresh = eventually(lambda: remote.act(picture(3), picture(4)), "an answer in time")
    np.testing.assert_array_equal(fresh.action, OnnxPolicy(bundle).act(picture(3), picture(4)).action)
    assert remote.late >= 1


def test_the_server_does_not_compute_what_nobody_waits_for(serve, connect, bundle: PolicyBundle) -> None:
    slow = SlowBundle(bundle)
    running = serve(slow)
    blocker, other = connect(running), connect(running, reply_timeout_s=0.05)
    slow.delay_s = 0.5
    thread = threading.Thread(target=blocker.act, args=(picture(1), picture(2)))
    thread.start()
    time.sleep(0.1)
    for _ in range(3):
        with pytest.raises(PolicyUnavailable):
            other.act(picture(1), picture(2))
    thread.join()
    slow.delay_s = 0.0
    eventually(lambda: blocker.act(picture(1), picture(2)), "an answer")
    assert running.server.counts["superseded"] >= 2 and running.server.counts["answered"] <= 3


def test_a_lost_server_is_noticed_in_time_and_found_again(serve, connect, bundle: PolicyBundle) -> None:
    first = Running(bundle)
    remote = connect(first, reply_timeout_s=0.1)
    eventually(lambda: remote.act(picture(1), picture(2)), "an answer")
    first.stop()
    for _ in range(5):
        began = time.monotonic()
        with pytest.raises(PolicyUnavailable):
            remote.act(picture(1), picture(2))
        assert time.monotonic() - began < 1.0
    serve(bundle, first.address)
    eventually(lambda: remote.act(picture(1), picture(2)), "the reconnection")


def test_another_policy_behind_the_same_address_is_refused(serve, connect, bundle: PolicyBundle, make_bundle) -> None:
    first = Running(bundle)
    remote = connect(first)
    first.stop()
    serve(PolicyBundle.open(make_bundle(action=(0.02, 0, 0, 0, 0, 0, 1))), first.address)
    end = time.monotonic() + 3 * PATIENCE_S
    while True:
        with pytest.raises(PolicyUnavailable) as refused:
            remote.act(picture(1), picture(2))
        if "another policy" in str(refused.value):
            break
        assert time.monotonic() < end
        time.sleep(0.05)


def test_without_an_answer_there_is_no_command(spec: RobotSpec, clock) -> None:
    class Silent:
        domain = "sim"

        def act(self, observation: np.ndarray, goal: np.ndarray):
            raise PolicyUnavailable("no answer from the policy server")

    side = PolicySide(Silent(), spec, clock, gripper=StickyGripper(0.5, 1))
    side.set_goal(picture(0), "sim")
    pose = make_pose(np.eye(3), np.array([0.3, 0.0, 0.1]))
    decision = side.compute(Frame(clock.now(), picture(1), "sim"), pose, pose)
    assert decision.asked is None and decision.reason == NO_ANSWER and "policy server" in decision.detail
