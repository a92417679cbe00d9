"""Promise: whatever a transition breaks on, a managed node lets go of what it made, is in a standard state, and knows
why.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.lifecycle import TransitionCallbackReturn

from mqe_ros import topics
from mqe_ros.managed_node import ManagedNode


class Fragile(ManagedNode):
    """Raises `breaks[step]` in that step, after its work."""

    def __init__(self) -> None:
        super().__init__("fragile")
        self.breaks: dict[str, Exception] = {}
        self.done: list[str] = []

    def configure(self) -> None:
        self.publish_on(topics.COMMAND)
        self.subscribe_to(topics.EE_POSE, lambda _: None)
        self.create_timer(10.0, lambda: None)
        self._step("configure")

    def activate(self) -> None:
        self._step("activate")

    def deactivate(self) -> None:
        self._step("deactivate")

    def cleanup(self) -> None:
        self._step("cleanup")

    def control(self) -> None:
        self.stopping.wait()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        return DiagnosticStatus.OK, "", {}

    def _step(self, name: str) -> None:
        self.done.append(name)
        if name in self.breaks:
            raise self.breaks[name]

    @property
    def made(self) -> tuple[int, ...]:
        return tuple(len(list(entities)) for entities in (self.publishers, self.subscriptions, self.timers))


@pytest.fixture
def node(ros: None) -> Iterator[Fragile]:
    node = Fragile()
    yield node
    node.breaks.clear()
    node.stop()
    node.destroy_node()


def test_it_goes_round_and_leaves_nothing(node: Fragile) -> None:
    before = node.made
    for _ in range(2):
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.made == tuple(count + 1 for count in before)
        for trigger in (node.trigger_activate, node.trigger_deactivate, node.trigger_cleanup):
            assert trigger() == TransitionCallbackReturn.SUCCESS
        assert node.made == before and node.lifecycle_state == "unconfigured"
    node.trigger_configure()
    node.trigger_activate()
    node.trigger_shutdown()
    assert node.made == before and node.lifecycle_state == "finalized"


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (ValueError("a wrong file"), TransitionCallbackReturn.FAILURE),
        (KeyError("a mistake of ours"), TransitionCallbackReturn.ERROR),
    ],
    ids=["expected", "mistake"],
)
def test_a_configuration_that_fails_is_undone(
    node: Fragile, error: Exception, answer: TransitionCallbackReturn
) -> None:
    before = node.made
    node.breaks["configure"] = error
    assert node.trigger_configure() == answer
    assert (node.made, node.lifecycle_state, node.problem) == (before, "unconfigured", error)
    assert "cleanup" in node.done
    with pytest.raises(type(error)):
        node.start()  # by itself: the process ends with it
    node.breaks.clear()
    node.start()
    assert node.lifecycle_state == "active" and node.problem is None


def test_an_activation_that_fails_leaves_it_inactive(node: Fragile) -> None:
    node.trigger_configure()
    node.breaks["activate"] = ValueError("not now")
    assert node.trigger_activate() == TransitionCallbackReturn.FAILURE
    assert node.lifecycle_state == "inactive" and node.done == ["configure", "activate", "deactivate"]


def test_a_deactivation_that_breaks_lets_go_of_everything(node: Fragile) -> None:
    before = node.made
    node.start()

    def break_once() -> None:
        del node.deactivate
        raise RuntimeError("once")

    node.deactivate = break_once
    assert node.trigger_deactivate() == TransitionCallbackReturn.ERROR
    assert (node.lifecycle_state, node.made, node.failure) == ("unconfigured", before, None)


def test_a_control_thread_that_does_not_end_ends_the_process(node: Fragile, monkeypatch: pytest.MonkeyPatch) -> None:
    node.start()
    with monkeypatch.context() as patch:
        patch.setattr(node, "stop_control", lambda: False)
        node.trigger_deactivate()
    assert node.lifecycle_state == "finalized"
    assert str(node.failure) == "the control thread does not end"  # run_node ends with it


def test_what_a_node_tells_of_itself_is_short_whatever_it_names(node: Fragile, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[DiagnosticArray] = []
    monkeypatch.setattr(node, "_diagnostics", SimpleNamespace(publish=told.append))
    monkeypatch.setattr(node, "diagnose", lambda: (DiagnosticStatus.OK, "\x1b[2J" * 100_000, {}))
    node._publish_diagnostics()
    message = told[0].status[0].message
    assert len(message.encode()) < 1000 and "\x1b" not in message
