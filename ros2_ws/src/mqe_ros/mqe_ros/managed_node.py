"""A ControlNode with ROS 2's lifecycle: it configures and activates itself, or leaves that to a lifecycle manager."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn

from mqe_core.files.bounded import shortened, shown
from mqe_ros.parameters import MANAGED, Parameter
from mqe_ros.running import EXPECTED, REASON_BYTES, ControlNode

_LABEL = re.compile(r"[a-z_]{1,40}")
_SUCCESS, _FAILURE, _ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


class ManagedNode(LifecycleNodeMixin, ControlNode):
    """unconfigured → `configure` → inactive → `activate` → active, with the control thread running; and back.

    Subclasses implement these four. What `configure` creates on the node (publishers, subscriptions, timers, services)
    is destroyed by the cleanup; what else it opens, `cleanup` closes.

    With the parameter `self_activate` (default) the start configures and activates, and fails with what these raise.
    Without it a transition that fails leaves the state as it was, with the reason in the log and in `problem`.
    """

    def __init__(self, name: str, table: Sequence[Parameter] = ()) -> None:
        ControlNode.__init__(self, name, (*table, *MANAGED))
        LifecycleNodeMixin.__init__(self)
        self.problem: Exception | None = None  # why the newest transition failed
        self._lasting: set[object] | None = None  # what was on the node before it was configured
        self._answer_change_state = self._service_change_state.callback
        self._service_change_state.callback = self._change_state

    def configure(self) -> None:
        """Open and check everything; ValueError, RuntimeError or OSError say what is wrong."""
        raise NotImplementedError

    def activate(self) -> None:
        """Called before the control thread begins."""

    def deactivate(self) -> None:
        """Called before the control thread ends; it may be called where nothing is active or configured."""

    def cleanup(self) -> None:
        """Close what `configure` opened, as far as it got; the control thread has ended."""

    @property
    def lifecycle_state(self) -> str:
        """`unconfigured`, `inactive`, `active`, `finalized`, or the transition that is under way."""
        return self._state_machine.current_state[1]

    def start(self) -> None:
        if not self.value_of("self_activate"):
            self.get_logger().info("unconfigured: waiting for a lifecycle manager")
            return
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != _SUCCESS:
                raise self.problem or RuntimeError("the node could not be activated")

    def stop(self) -> None:
        self._let_go()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        def configure() -> None:
            self._lasting = set(self._entities())
            try:
                self.configure()
            except BaseException:
                self._let_go()
                raise

        return self._attempt(configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        def activate() -> None:
            try:
                self.activate()
                self.start_control()
            except BaseException:
                self.deactivate()
                raise

        return self._attempt(activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt(self._halt, failed=_ERROR)  # half active is no state: all is let go of

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt(self._let_go, failed=_ERROR)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt(self._let_go, failed=_ERROR)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a transition that broke in the middle: unconfigured again, or, where that fails as well, the end of the
        process.
        """
        try:
            self._let_go()
        except Exception as error:
            self.failure = error
            return _FAILURE
        return _SUCCESS

    def _attempt(
        self, action: Callable[[], None], failed: TransitionCallbackReturn = _FAILURE
    ) -> TransitionCallbackReturn:
        """rclpy would swallow an exception."""
        self.problem = None
        try:
            action()
        except EXPECTED as error:
            self.problem = error
            return failed
        except Exception as error:
            self.problem = error
            return _ERROR
        return _SUCCESS

    def _change_state(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        """The service, in rclpy's place: there a transition that the state does not allow would end the process, and no
        reason was told.
        """
        if request.transition.label and not _LABEL.fullmatch(request.transition.label):  # rcl would log all of it
            self.get_logger().error(f"no transition {shown(request.transition.label)}")
            response.success = False
            return response
        state, asked, self.problem = (
            self.lifecycle_state,
            shown(request.transition.label or request.transition.id),
            None,
        )
        try:
            response = self._answer_change_state(request, response)
        except RuntimeError as error:  # rclpy's RCLError
            self.get_logger().error(f"no transition {asked} from {state}: {str(error).splitlines()[0]}")
            response.success = False
        if isinstance(self.problem, EXPECTED):
            self.get_logger().error(f"{self.lifecycle_state}: {shortened(str(self.problem), REASON_BYTES)}")
        elif self.problem is not None:
            self.get_logger().error("".join(traceback.format_exception(self.problem)))
        return response

    def _halt(self) -> None:
        self.deactivate()
        if not self.stop_control():
            raise RuntimeError("the control thread does not end")

    def _let_go(self) -> None:
        self._halt()
        self.cleanup()
        if self._lasting is None:
            return
        kinds: tuple[tuple[Iterable[Any], Callable[[Any], object]], ...] = (
            (self.publishers, self.destroy_publisher),
            (self.subscriptions, self.destroy_subscription),
            (self.timers, self.destroy_timer),
            (self.services, self.destroy_service),
        )
        for entities, destroy in kinds:
            for entity in list(entities):
                if entity not in self._lasting:
                    destroy(entity)
        self._lasting = None
        # rclpy's group keeps an empty reference to everything that was ever in it.
        group = self.default_callback_group
        group.entities = {reference for reference in group.entities if reference() is not None}

    def _entities(self) -> Iterator[object]:
        for entities in (self.publishers, self.subscriptions, self.timers, self.services):
            yield from entities
