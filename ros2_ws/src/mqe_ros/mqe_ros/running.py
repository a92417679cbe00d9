"""How every node starts, runs and ends: one executor, one control thread, exit code 0 after a signal."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from builtin_interfaces.msg import Time as TimeMessage
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterUninitializedException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Header

from mqe_core.files.bounded import shortened
from mqe_ros import convert, parameters, topics
from mqe_ros.asking import ANSWERED
from mqe_ros.declaring import declare, unknown
from mqe_ros.ending import leaving
from mqe_ros.guard import Guard
from mqe_ros.pacing import Pace
from mqe_ros.publishers import OnePublisher

# Mistakes of the outside world, said in one line; anything else is ours and shows a traceback.
EXPECTED = (ValueError, RuntimeError, OSError)
STEADY = Clock(
    clock_type=ClockType.STEADY_TIME
)  # for timers: the node's own clock may be set, and a timer on it stand still
_SIGNAL_DELAY_S = 0.1  # a signal is noticed when the executor has waited so long
_SAME_SIGNAL_S = 1.0
REASON_BYTES = 900  # of what is told: it may name what somebody sent


class ControlNode(Node):
    """A node with one control thread.

    Subclasses build everything in `__init__` and loop in `control`, until `stopping` is set. ValueError where a
    parameter was given a value of another type than its own.
    """

    def __init__(self, name: str, table: Sequence[parameters.Parameter] = ()) -> None:
        # First: rclpy subscribes and serves as well.
        self.guard, self.pace = Guard(lambda line: self.get_logger().warning(line)), Pace()
        self._owners: dict[str, OnePublisher] = {}
        super().__init__(name)
        self._table = {parameter.name: parameter for parameter in table}
        declare(self, table)
        for line in unknown(self):
            self.get_logger().warning(line)
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._diagnostics = self.publish_on(topics.DIAGNOSTICS)
        self.create_timer(1.0, self._publish_diagnostics, clock=STEADY)
        self.pace.begin(self)

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
        """Whether the node may be stopped. Asked again and again after a signal; control thread and services go on."""
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

    def value_of(self, name: str, otherwise: object = None) -> Any:
        """The value that a parameter was given, else its default, else `otherwise`.

        ValueError where there is none of the three, or the number lies outside the parameter's range.
        """
        try:
            value = self.get_parameter(name).value
        except ParameterUninitializedException as error:
            if otherwise is not None:
                return otherwise
            raise ValueError(f"the parameter {name} must be given (-p {name}:=…)") from error
        self._table[name].check(value)
        return value

    def publish_on(self, topic: topics.Topic):
        return self.create_publisher(topic.type, topic.name, topic.qos)

    def subscribe_to(self, topic: topics.Topic, callback: Callable):
        """Messages of more than the topic's `most_bytes` are dropped before anything is made of them."""
        if topic.most_bytes is None:
            return self.create_subscription(topic.type, topic.name, callback, topic.qos)
        most = topic.most_bytes

        def read(raw: bytes) -> None:
            if len(raw) > most:
                raise ValueError(f"a message of {len(raw)} bytes, at most {most} are taken")
            callback(deserialize_message(raw, topic.type))

        return self.create_subscription(topic.type, topic.name, read, topic.qos, raw=True)

    def one_publisher(self, topic: topics.Topic) -> OnePublisher:
        """Tells whether the topic, to which this node subscribes, has one publisher."""
        self._owners[topic.name] = OnePublisher(self, topic.name)
        return self._owners[topic.name]

    def create_subscription(self, msg_type, topic: str, callback: Callable, *args, **options):
        """As rclpy's, behind the guard; so is rclpy's own of /clock."""
        guarded = self.guard.message(topic, callback)

        def hear(message: Any, info: dict) -> None:
            if (owner := self._owners.get(topic)) is not None:
                owner.hear(info)
            guarded(message)

        # rclpy's annotation leaves out what it does: a callback of two gets the message's info.
        of_two: Callable = hear
        return super().create_subscription(msg_type, topic, of_two, *args, **options)

    def create_service(self, srv_type, srv_name: str, callback: Callable, *args, **options):
        """As rclpy's, behind the guard; so are rclpy's own of the parameters. Many requests may come at once: each is
        done at once, and answered at a pace that loses none.
        """
        guarded = self.guard.request(srv_name, callback)
        service = super().create_service(srv_type, srv_name, guarded, *args, **{"qos_profile": ANSWERED, **options})
        self.pace.keep(service)
        return service

    def now_message(self) -> TimeMessage:
        return convert.stamp(self.get_clock().now().nanoseconds)

    def stamp_message(self, monotonic: float) -> TimeMessage:
        """The ROS time of a moment of the machine's monotonic clock."""
        age_ns = int(1e9 * (time.monotonic() - monotonic))
        return convert.stamp(self.get_clock().now().nanoseconds - age_ns)

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
        if news := self.guard.news():
            level, message = max(level, DiagnosticStatus.WARN), f"{message}; {news}"
        values = {**values, **{f"dropped {name}": count for name, count in self.guard.dropped.items()}}
        status = DiagnosticStatus(
            level=level,
            name=f"{self.get_name()}: control",
            message=shortened(message, REASON_BYTES),
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
        with leaving(name, failure or sys.exc_info()[1]):
            if executor is not None:
                executor.shutdown(timeout_sec=1.0)
            if node is not None:
                node.destroy_node()
            rclpy.try_shutdown()
    if failure is None:
        return 0
    if not isinstance(failure, EXPECTED):
        raise failure
    sys.stderr.write(f"{name}: {failure}\n")
    return 1
