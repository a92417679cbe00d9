"""Promise: a policy on another machine answers as the bundle does, in time or not at all, and only to whom it
may.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from mqe_core.bundle import PolicyBundle
from mqe_core.geometry import make_pose
from mqe_core.runtime import wire
from mqe_core.runtime.keys import is_local, make_keys
from mqe_core.runtime.policy import OnnxPolicy
from mqe_core.runtime.policy_server import PolicyServer
from mqe_core.runtime.policy_side import NO_ANSWER, PolicySide, PolicyUnavailable, StickyGripper
from mqe_core.runtime.remote import RemotePolicy
from mqe_core.runtime.robot import Frame
from mqe_core.spec import RobotSpec

ANY = "tcp://127.0.0.1:*"
PATIENCE_S = 5.0  # for an answer that must come, on a busy machine


class SlowBundle:
    """A bundle that thinks for a while, when told to."""

    def __init__(self, bundle: PolicyBundle) -> None:
        self.delay_s = 0.0
        self.contract, self.fingerprint = bundle.contract, bundle.fingerprint
        self._bundle = bundle

    def run(self, observation: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(self.delay_s)
        return self._bundle.run(observation, goal)


class Running:
    """A server in a thread."""

    def __init__(self, bundle, address: str = ANY, keys: Path | None = None) -> None:
        self.server = PolicyServer(bundle, address, keys)
        self.address = self.server.address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.server.serve, args=(self._stop.is_set,))
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.server.close()


@pytest.fixture
def bundle(make_bundle) -> PolicyBundle:
    return PolicyBundle.open(make_bundle())


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def start(*arguments, **options) -> Running:
        running.append(Running(*arguments, **options))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def connect() -> Iterator[Callable[..., RemotePolicy]]:
    clients: list[RemotePolicy] = []

    def start(
        server: Running, keys: Path | None = None, reply_timeout_s: float = PATIENCE_S, **options
    ) -> RemotePolicy:
        clients.append(RemotePolicy(server.address, keys=keys, reply_timeout_s=reply_timeout_s, **options))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)


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
    assert decision.command is None and decision.held == NO_ANSWER and "policy server" in decision.detail


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
    "address", ["tcp://0.0.0.0:5557", "tcp://*:5557", "tcp://192.168.1.7:5557", "tcp://robot:5557", "tcp://eth0:5557"]
)
def test_nobody_listens_to_the_network_without_keys(address: str, bundle: PolicyBundle) -> None:
    assert not is_local(address)
    with pytest.raises(ValueError, match="--make-keys"):
        PolicyServer(bundle, address, None)


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:5557", "tcp://localhost:5557", "tcp://[::1]:5557", "ipc:///tmp/x"]
)
def test_this_machine_alone_is_local(address: str) -> None:
    assert is_local(address)


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


@pytest.fixture(scope="module")
def attacked(make_bundle) -> Iterator[tuple[Running, zmq.Socket]]:
    """A server, and a socket that sends it anything."""
    running = Running(PolicyBundle.open(make_bundle()))
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.set(zmq.LINGER, 0)
    socket.connect(running.address)
    yield running, socket
    socket.close()
    context.term()
    running.stop()


IMAGE = bytes(32 * 32 * 3)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
NEARLY = st.fixed_dictionaries(
    {"version": st.just(1) | VALUES, "kind": st.sampled_from(["act", "hello", "welcome", "action"]) | VALUES},
    optional={
        "id": st.integers(-10, 10) | VALUES,
        "observation": st.just(IMAGE) | VALUES,
        "goal": st.just(IMAGE) | VALUES,
        "more": VALUES,
    },
)


def packed(message: object) -> bytes:
    import msgpack

    try:
        return msgpack.packb(message)
    except (OverflowError, ValueError):
        return b""


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=300) | NEARLY.map(packed) | VALUES.map(packed), min_size=1, max_size=3))
def test_no_bytes_whatever_end_the_server(attacked: tuple[Running, zmq.Socket], frames: list[bytes]) -> None:
    running, socket = attacked
    socket.send_multipart(frames)
    # Whatever that was, the next question is answered, after the answers to it.
    running_id = 10**6 + int(time.monotonic() * 1e6) % 10**6
    socket.send(wire.pack("act", id=running_id, observation=IMAGE, goal=IMAGE))
    while True:
        assert socket.poll(1e3 * PATIENCE_S), "the server has fallen silent"
        kind, fields = wire.unpack(socket.recv(), "welcome", "action", "error")
        if kind == "action" and fields["id"] == running_id:
            break


def test_a_message_that_is_too_large_costs_its_sender_the_connection(serve, connect, bundle: PolicyBundle) -> None:
    running = serve(bundle)
    good = connect(running)
    with zmq.Context() as context, context.socket(zmq.DEALER) as bad:
        bad.set(zmq.LINGER, 0)
        bad.connect(running.address)
        bad.send(bytes(wire.MAX_MESSAGE_BYTES + 1))
        assert not bad.poll(500)
        assert good.act(picture(1), picture(2)).action.shape == (7,)
    assert running.server.counts["malformed"] == 0  # it never reached this program


@pytest.mark.parametrize("change", [{"observation": IMAGE[:-1]}, {"goal": b""}, {"goal": IMAGE + b"0"}])
def test_a_wrong_request_is_answered_with_the_reason(attacked: tuple[Running, zmq.Socket], change: dict) -> None:
    _, socket = attacked
    socket.send(wire.pack("act", **{"id": 1, "observation": IMAGE, "goal": IMAGE, **change}))
    assert socket.poll(1e3 * PATIENCE_S)
    kind, fields = wire.unpack(socket.recv(), "action", "error")
    assert kind == "error" and next(iter(change)) in fields["text"]
