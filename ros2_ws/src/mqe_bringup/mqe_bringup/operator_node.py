"""A node that asks the nodes of a running graph, for as long as one question takes."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from mqe_core import ros_names
from mqe_core.interrupts import hear_interrupts
from mqe_core.ros_domain import discovery_hint, require_discovery, ros_domain
from mqe_ros import transports
from mqe_ros.asking import ANSWERED, answer

if TYPE_CHECKING:
    from rclpy.client import Client

    from mqe_ros.topics import Topic

PATIENCE_S = 5.0  # for a node to be found, and again for its answer
_HINT_S = 1.0  # then the operator is told what may be wrong, while the waiting goes on
_ROUND_S = 0.02  # discovery wakes nobody: it is looked for so often

# Why an arm that is found may say nothing.
_LISTED = "It is listed: it hangs, it was killed within the last 10 s, or what it says does not arrive here"


class Operator:
    """The node and its executor, as a context. ValueError where ROS_DOMAIN_ID is no domain.

    Args:
        takes_signals: Ctrl-C and SIGTERM take effect only in `listen_or_stop`. False: they stay as they are.
        check: called whenever it has listened; what it raises ends the waiting.
    """

    def __init__(self, takes_signals: bool = True, check: Callable[[], None] = lambda: None) -> None:
        ros_domain()  # ValueError before rclpy finds its own words
        require_discovery()
        self._stop_wanted = False
        self._check = check
        for number in (signal.SIGINT, signal.SIGTERM) if takes_signals else ():
            signal.signal(number, self._want_stop)
        if takes_signals:
            hear_interrupts()
        self._chosen = contextlib.ExitStack()
        self._chosen.enter_context(transports.chosen(transports.SAFETY))
        self._context = rclpy.Context()  # of its own: the caller may have one
        no_signals = SignalHandlerOptions.NO
        rclpy.init(args=transports.NO_LOG_FILE, context=self._context, signal_handler_options=no_signals)
        self.node = rclpy.create_node(
            "operator", context=self._context, enable_rosout=False, start_parameter_services=False
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)
        self._chosen.close()

    def listen(self) -> None:
        self._executor.spin_once(timeout_sec=_ROUND_S)
        self._check()

    def listen_or_stop(self) -> None:
        """Listen for a moment. KeyboardInterrupt after a signal, once for each."""
        self.listen()
        if self._stop_wanted:
            self._stop_wanted = False
            raise KeyboardInterrupt

    def listen_for(self, done: Callable[[], object]) -> None:
        """Listen until `done()`, or for 1 s: five control periods, in which every node has spoken."""
        end = time.monotonic() + 1.0
        while not done() and time.monotonic() < end:
            self.listen_or_stop()

    def wait(
        self, done: Callable[[], object], otherwise: str, timeout_s: float = PATIENCE_S, hint: str | None = None
    ) -> None:
        """Listen until `done()`; RuntimeError with `otherwise` where that takes longer than `timeout_s` seconds.

        `hint` is told on stderr before that, after a second.
        """
        end, listen = time.monotonic() + timeout_s, _hinting(self.listen_or_stop, hint)
        while not done():
            if time.monotonic() > end:
                raise RuntimeError(otherwise)
            listen()

    def find(
        self, there: Callable[[], object], name: str, otherwise: str = "start a graph (mqe up goal:=NAME)"
    ) -> None:
        """Wait for the node `name`; RuntimeError with the remedy where none is in this ROS domain."""
        domain = f"{ros_domain()}{discovery_hint()}"
        self.wait(
            there,
            f"no {name} answers in ROS domain {domain}: {otherwise}, or set ROS_DOMAIN_ID to its domain",
            hint=f"no {name} answers in ROS domain {domain} yet: it hangs, or there is none",
        )

    def hear(self, topic: Topic) -> list:
        """A list of what is published on `topic` from now on. It grows while this node listens."""
        heard: list = []
        self.node.create_subscription(topic.type, topic.name, heard.append, topic.qos)
        return heard

    def several(self, topic: Topic) -> str:
        """Who publishes that topic, where it is more than one node; else empty."""
        from mqe_ros.publishers import OnePublisher

        return OnePublisher(self.node, topic.name).problem()

    def connect(self, service: str) -> Client:
        """A client of one of arm_node's services, once that has been found. RuntimeError where it is not."""
        client = self.node.create_client(Trigger, service, qos_profile=ANSWERED)
        remedy = {"otherwise": "cut the arm's power"} if service == ros_names.HOLD else {}
        self.find(client.service_is_ready, "arm_node", **remedy)
        return client

    def trigger(self, client: Client) -> str:
        """What arm_node answers. RuntimeError with its words where it refuses, TimeoutError where it does not answer.

        Signals do not end the waiting.
        """
        what = f"arm_node's answer to {client.srv_name}"
        listen = _hinting(self.listen, f"{what} has not come yet. {_LISTED}")
        try:
            given = answer(lambda: client.call_async(Trigger.Request()), listen, PATIENCE_S, what)
        except TimeoutError as error:
            raise TimeoutError(f"{error}. {_LISTED}") from error
        if not given.success:
            raise RuntimeError(given.message)
        return given.message

    def _want_stop(self, *_: object) -> None:
        self._stop_wanted = True


def _hinting(listen: Callable[[], None], hint: str | None) -> Callable[[], None]:
    """`listen`, which tells `hint` on stderr once it is called a second from now."""
    at, told = time.monotonic() + _HINT_S, hint is None

    def listen_and_tell() -> None:
        nonlocal told
        if not told and time.monotonic() > at:
            told = True
            sys.stderr.write(f"{hint}\n")
        listen()

    return listen_and_tell
