"""How every node starts, runs and ends: one executor, one control thread, exit code 0 after a signal."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable

import rclpy
from builtin_interfaces.msg import Time as TimeMessage
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterUninitializedException,
)
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from rclpy.time import Time
from std_msgs.msg import Header

from mqe_ros import topics

# Mistakes of the outside world, said in one line; anything else is ours and shows a traceback.
EXPECTED = (ValueError, RuntimeError, OSError)
STEADY = Clock(
    clock_type=ClockType.STEADY_TIME
)  # for timers: the node's own clock may be set, and a timer on it stand still
_SIGNAL_DELAY_S = 0.1  # a signal is noticed when the executor has waited so long
_SAME_SIGNAL_S = 1.0


class ControlNode(Node):
    """A node with one control thread.

    Subclasses build everything in `__init__` and loop in `control`, until `stopping` is set.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._diagnostics = self.publish_on(topics.DIAGNOSTICS)
        self.create_timer(1.0, self._publish_diagnostics, clock=STEADY)

    def control(self) -> None:
        """The loop; runs in a thread of its own."""
        raise NotImplementedError

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """(DiagnosticStatus level, message, values) for /diagnostics, once a second."""
        raise NotImplementedError

    def start(self) -> None:
        """Called once, when the node is built."""
        self.start_control()

    def finish(self) -> bool:
        """Called again and again after a signal, while control thread and services go on; True once the node
        may be stopped.
        """
        return True

    def stop(self) -> None:
        """End the control thread; `destroy_node` may follow. RuntimeError where it does not end."""
        if not self.stop_control():
            raise RuntimeError("the control thread does not end")

    def start_control(self) -> None:
        self.stopping.clear()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def stop_control(self) -> bool:
        """End the control thread; False where it does not end within 5 s. Safe to call again, and where none runs."""
        self.stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
            if self._thread.is_alive():
                return False
            self._thread = None
        return True

    def sleep_until(self, t: float) -> bool:
        """Wait for the monotonic time `t`; False where the node is to stop."""
        remaining = t - time.monotonic()
        # The last stretch by sleep: Event.wait wakes late by up to a millisecond where sleep is exact.
        if remaining > 0.05 and self.stopping.wait(remaining - 0.03):
            return False
        while (remaining := t - time.monotonic()) > 0:
            time.sleep(remaining)
        return not self.stopping.is_set()

    def publish_on(self, topic: topics.Topic):
        return self.create_publisher(topic.type, topic.name, topic.qos)

    def subscribe_to(self, topic: topics.Topic, callback: Callable):
        return self.create_subscription(topic.type, topic.name, callback, topic.qos)

    def now_message(self) -> TimeMessage:
        return self.get_clock().now().to_msg()

    def stamp_message(self, monotonic: float) -> TimeMessage:
        """The ROS time of a moment of the machine's monotonic clock."""
        age_ns = int(1e9 * (time.monotonic() - monotonic))
        now = self.get_clock().now()
        # On simulated time the clock stands at 0 until /clock is heard.
        return Time(nanoseconds=max(0, now.nanoseconds - age_ns), clock_type=now.clock_type).to_msg()

    def _run(self) -> None:
        try:
            self.control()
        except BaseException as error:  # carried to the main thread, which ends the process with it
            if not self.stopping.is_set():
                self.failure = (
                    error  # the main thread looks; the context stays open, for what is still to be said to an arm
                )

    def _publish_diagnostics(self) -> None:
        level, message, values = self.diagnose()
        status = DiagnosticStatus(
            level=level,
            name=f"{self.get_name()}: control",
            message=message,
            hardware_id="",
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        self._diagnostics.publish(DiagnosticArray(header=Header(stamp=self.now_message()), status=[status]))


class _Signals:
    """Handler of SIGINT and SIGTERM. rclpy's own would close the context, and a node could not even say goodbye
    to its arm.

    While `raising` it raises KeyboardInterrupt, so that a node that still waits for something ends at once;
    after that it only counts.
    """

    def __init__(self) -> None:
        self.raising = True
        self._heard: list[float] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self)

    @property
    def heard(self) -> bool:
        return bool(self._heard)

    @property
    def insisted(self) -> bool:
        """Whether a second one came: a launcher and a terminal often send the first one twice, so only later
        ones count.
        """
        return bool(self._heard) and self._heard[-1] - self._heard[0] > _SAME_SIGNAL_S

    def __call__(self, *_: object) -> None:
        self._heard.append(time.monotonic())
        if self.raising:
            self.raising = False
            raise KeyboardInterrupt


def run_node(make: Callable[[], ControlNode]) -> int:
    """Run the node until a signal (exit code 0) or until it fails (1, with the reason in one line).

    After the signal the node may finish what it must not leave half done (`ControlNode.finish`), still
    answering its services; a second signal ends that.
    """
    node: ControlNode | None = None
    executor: SingleThreadedExecutor | None = None
    failure: BaseException | None = None
    name = make.__name__
    signals = _Signals()
    try:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        node = make()
        name = node.get_name()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        node.start()
        signals.raising = False
        while not signals.heard and node.failure is None:
            executor.spin_once(timeout_sec=_SIGNAL_DELAY_S)
        while node.failure is None and not node.finish() and not signals.insisted:
            executor.spin_once(timeout_sec=_SIGNAL_DELAY_S)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except EXPECTED as error:
        failure = error
    finally:
        signals.raising = False
        # Nor may a late signal meet the interpreter's own end, where no handler runs any more.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if node is not None:
            try:
                node.stop()
            except Exception as error:  # the first failure is the one to tell
                failure = failure or node.failure or error
            failure = failure or node.failure
            if executor is not None:
                executor.shutdown(timeout_sec=1.0)
            node.destroy_node()
        rclpy.try_shutdown()
    if failure is None:
        return 0
    if not isinstance(failure, EXPECTED):
        raise failure
    sys.stderr.write(f"{name}: {failure}\n")
    return 1


_TYPES = {
    str: Parameter.Type.STRING,
    float: Parameter.Type.DOUBLE,
    int: Parameter.Type.INTEGER,
    bool: Parameter.Type.BOOL,
}


def parameter(node: Node, name: str, kind: type, default: object = None):
    """Declare and read a parameter of type `kind`; without a default it must be given.

    ValueError names what is missing or wrong.
    """
    declare(node, name, kind, default)
    return read(node, name)


def declare(node: Node, name: str, kind: type, default: object = None) -> None:
    """ValueError where the value that was given is of another type."""
    try:
        node.declare_parameter(name, _TYPES[kind] if default is None else default)
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        raise ValueError(f"the parameter {name} must be of type {kind.__name__}: {error}") from error


def read(node: Node, name: str):
    """The value of a declared parameter; ValueError where it has neither value nor default."""
    try:
        return node.get_parameter(name).value
    except ParameterUninitializedException as error:
        raise ValueError(f"the parameter {name} must be given (-p {name}:=…)") from error
