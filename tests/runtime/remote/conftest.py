"""What the tests of the policy server share: a bundle, servers of it, and clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mqe_core.policy.bundle import PolicyBundle
from mqe_core.runtime.remote.remote_policy import RemotePolicy
from tests.runtime.remote.running_server import PATIENCE_S, Running


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
