"""How evenly do the commands come, and what do the nodes cost?

    python benchmarks/graph_timing.py [--seconds 60] [--policy FILE] [--size 640x480] [--record FOLDER] [--console]
                                      [--json]

Real processes: the mock arm, the policy node, and a camera (this process) that publishes images of the given size and
rate; with --record the recorder too, with --console the operator's page and a browser that shows it. The times are the
messages' own stamps, taken where they are published. Without --policy the shipped one runs. CPU is of one core; memory
is what is resident, at the start and the end of the measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

PORT = 8479  # of the page
WARM_UP_COMMANDS = 5  # the first ones meet cold caches


def measure(
    seconds: float, policy: str, width: int, height: int, camera_hz: float, record: str, console: bool
) -> dict[str, object]:
    """Run the graph for `seconds` of commands; the figures, by name."""
    from mqe_bringup.graph import Graph, build_graph
    from mqe_bringup.scene_run import own_domain
    from mqe_bringup.supervisor import Supervisor
    from mqe_core.robot.spec import load_robot_spec

    graph: Graph = build_graph(
        {
            "backend": "mock",
            "camera": "auto",
            "policy": policy,
            "stall_commands": "0",
            "reached_steps": "0",
            "record": record or "false",
            "console": str(PORT) if console else "false",
        }
    )
    os.environ.update(own_domain())
    os.environ.update(graph.environment)  # this process publishes images: it needs the transport profile

    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from mqe_interfaces.action import ReachGoal
    from mqe_interfaces.msg import PolicyStatus
    from mqe_ros import convert, topics
    from mqe_ros.goal_client import GoalClient

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("timing")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    stamps: list[float] = []
    statuses: list[PolicyStatus] = []
    slots: list[float] = []  # ms, from the policy node's diagnostics
    node.create_subscription(
        topics.COMMAND.type,
        topics.COMMAND.name,
        lambda m: stamps.append(m.header.stamp.sec + 1e-9 * m.header.stamp.nanosec),
        topics.COMMAND.qos,
    )
    node.create_subscription(
        topics.POLICY_STATUS.type, topics.POLICY_STATUS.name, statuses.append, topics.POLICY_STATUS.qos
    )

    def note_slot(message: DiagnosticArray) -> None:
        slots.extend(float(pair.value) for status in message.status for pair in status.values if pair.key == "slot_ms")

    node.create_subscription(topics.DIAGNOSTICS.type, topics.DIAGNOSTICS.name, note_slot, topics.DIAGNOSTICS.qos)
    images = node.create_publisher(topics.IMAGE.type, topics.IMAGE.name, topics.IMAGE.qos)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    # No two in a row are the same, nor those that two control periods meet: a picture that stays while the arm moves is
    # refused as a frozen camera's.
    stamp = node.get_clock().now().to_msg()
    messages = [convert.array_to_image(np.roll(pixels, shift, axis=1), stamp, "camera") for shift in range(7)]
    goal = convert.array_to_image(255 - pixels, node.get_clock().now().to_msg(), "camera")
    published = 0

    def publish_image() -> None:
        nonlocal published
        message = messages[published % len(messages)]
        message.header.stamp = node.get_clock().now().to_msg()
        images.publish(message)
        published += 1

    with tempfile.TemporaryDirectory() as logs, contextlib.ExitStack() as browsers:
        supervisor = Supervisor(graph.environment, log_folder=Path(logs))
        try:
            supervisor.start([process for process in graph.processes if process.name != "camera_node"])
            client = GoalClient(node, lambda: executor.spin_once(timeout_sec=0.1))
            listeners = 1 + bool(record) + console
            while not client.is_there() or images.get_subscription_count() < listeners:
                executor.spin_once(timeout_sec=0.1)
                if supervisor.ended() is not None:
                    raise RuntimeError(supervisor.log_tail(supervisor.ended()[0]))
            node.create_timer(1.0 / camera_hz, publish_image)
            client.send(ReachGoal.Goal(goal_image=goal, timeout_s=2.0 * seconds + 60.0), 60.0)
            while len(stamps) < WARM_UP_COMMANDS:
                executor.spin_once(timeout_sec=0.1)
            if console:
                browsers.enter_context(browser(f"http://127.0.0.1:{PORT}/", Path(logs)))
                for _ in range(50):  # it loads
                    executor.spin_once(timeout_sec=0.1)
                stamps.clear()
                statuses.clear()
            while len(stamps) < WARM_UP_COMMANDS:
                executor.spin_once(timeout_sec=0.1)
            before = {name: usage(pid) for name, pid in supervisor.pids.items()}
            begin = time.monotonic()
            while time.monotonic() < begin + seconds:
                executor.spin_once(timeout_sec=0.1)
            elapsed = time.monotonic() - begin
            after = {name: usage(pid) for name, pid in supervisor.pids.items()}
        finally:
            supervisor.stop()
            executor.shutdown()
            node.destroy_node()
            rclpy.try_shutdown()

    period_ms = 1e3 * load_robot_spec().control.period_s
    intervals = 1e3 * np.diff(stamps[WARM_UP_COMMANDS:])
    deviation = np.abs(intervals - period_ms)
    latencies = np.array([status.latency_ms for status in statuses[WARM_UP_COMMANDS:]])
    latencies = latencies[np.isfinite(latencies)]
    figures: dict[str, object] = {
        "commands": len(stamps),
        "waiting": sum(status.state == PolicyStatus.WAITING for status in statuses[WARM_UP_COMMANDS:]),
        "rate_hz": 1e3 / float(intervals.mean()),
        "deviation_p50_ms": float(np.percentile(deviation, 50)),
        "deviation_p99_ms": float(np.percentile(deviation, 99)),
        "deviation_max_ms": float(deviation.max()),
        "image_to_command_p50_ms": float(np.percentile(latencies, 50)),
        "image_to_command_p99_ms": float(np.percentile(latencies, 99)),
        "slot_ms": slots[-1],
        "deadline_misses": statuses[-1].deadline_misses,
    }
    for name in after:
        figures[f"{name}_cpu_percent"] = 100 * (after[name][0] - before[name][0]) / elapsed
        figures[f"{name}_memory_mb"] = f"{before[name][1]:.0f} to {after[name][1]:.0f}"
    if record:
        figures["images_published"] = published
        figures["images_recorded"] = recorded_images(Path(record), topics.IMAGE.name)
    return figures


@contextlib.contextmanager
def browser(address: str, folder: Path) -> Iterator[None]:
    """A Chromium of this machine without a window, which shows the page."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        raise RuntimeError("--console needs a Chromium: sudo apt install chromium")
    options = ["--headless", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={folder / 'browser'}"]
    with (folder / "browser.log").open("wb") as log:
        running = subprocess.Popen([path, *options, address], stdout=log, stderr=log)
    try:
        yield
    finally:
        running.terminate()
        running.wait(timeout=20)


def usage(pid: int) -> tuple[float, float]:
    """(CPU seconds so far, resident MB) of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return cpu, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def recorded_images(folder: Path, topic: str) -> int:
    """In the bag and in those that continue it."""
    from rosbags.rosbag2 import Reader

    total = 0
    for bag in (folder, *folder.parent.glob(f"{folder.name}-*")):
        with Reader(bag) as reader:
            total += reader.topics[topic].msgcount
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to measure (default: %(default)s)")
    parser.add_argument("--policy", default="", help="policy file (default: the shipped one)")
    parser.add_argument("--size", default="640x480", help="of the camera's images (default: %(default)s)")
    parser.add_argument("--camera-hz", type=float, default=30.0, help="images per second (default: %(default)s)")
    parser.add_argument(
        "--record", default="", help="record into this new folder (a path with a / in it), and count the images in it"
    )
    parser.add_argument("--console", action="store_true", help="serve the operator's page, and show it in a browser")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    if importlib.util.find_spec("mqe_bringup") is None:  # once more, in the built workspace's environment
        from mqe_core.workspace import workspace_environment

        os.execve(sys.executable, [sys.executable, *sys.argv], workspace_environment())
    width, height = map(int, args.size.split("x"))
    figures = measure(args.seconds, args.policy, width, height, args.camera_hz, args.record, args.console)
    if args.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    for name, value in figures.items():
        sys.stdout.write(f"{name:26} {value:.3f}\n" if isinstance(value, float) else f"{name:26} {value}\n")


if __name__ == "__main__":
    main()
