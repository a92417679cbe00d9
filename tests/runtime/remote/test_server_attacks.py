"""Promise: no bytes from outside, whatever they are, end a policy server or keep it from its clients."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from mqe_core.policy.bundle import PolicyBundle
from mqe_core.runtime.remote import wire
from tests.runtime.remote.running_server import PATIENCE_S, Running, picture


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
    {
        "version": st.just(1) | VALUES,
        "kind": st.sampled_from(["act", "choose", "hello", "welcome", "action"]) | VALUES,
    },
    optional={
        "id": st.integers(-10, 10) | VALUES,
        "observation": st.just(IMAGE) | VALUES,
        "goal": st.just(IMAGE) | VALUES,
        "last": st.integers(-3, 3) | VALUES,
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


def test_a_message_of_a_million_lists_is_refused_while_it_is_read(attacked: tuple[Running, zmq.Socket]) -> None:
    _, socket = attacked
    many = b"\xdc\x04\x00"  # a list of 1024
    socket.send(many + (many + b"\x90" * 1024) * 1024)
    assert socket.poll(1e3 * PATIENCE_S)
    kind, fields = wire.unpack(socket.recv(), "action", "error")
    assert kind == "error" and "no msgpack message" in fields["text"]


def test_a_message_of_many_frames_is_passed_over(attacked: tuple[Running, zmq.Socket]) -> None:
    _, socket = attacked
    socket.send_multipart([b"x"] * 20_000)
    socket.send(wire.pack("act", id=7, observation=IMAGE, goal=IMAGE))
    said = []
    for _ in range(2):
        assert socket.poll(1e3 * PATIENCE_S)
        said.append(wire.unpack(socket.recv(), "action", "error"))
    assert "expected one frame, got several" in said[0][1]["text"] and said[1][1]["id"] == 7
