"""One scene of the sim, driven to a goal through the whole graph in real time, and scored."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mqe_bringup.graph import Graph, build_graph
from mqe_bringup.supervisor import Supervisor

DOMAIN_VARIABLE = "MQE_SCENE_DOMAIN"  # environment variable: the ROS domain, where somebody hands them out
_START_TIMEOUT_S = 60.0

Say = Callable[[str], None]


def own_domain() -> dict[str, str]:
    """The environment of a graph that never talks to another robot, and to another of its kind on this machine only where two process
    numbers fall on one domain.
    """
    domain = os.environ.get(DOMAIN_VARIABLE, str(domain_of(os.getpid())))
    return {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_DOMAIN_ID": domain}


def domain_of(number: int) -> int:
    """One of the 90 ROS domains from 10 on; those below are left to people."""
    return 10 + number % 90


def run_scene(arguments: dict[str, str], goal: str, out: Path, say: Say) -> tuple[list[str], dict[str, object]]:
    """Start the graph, pursue `goal` for at most the task's time, score the scene at rest, and end the graph.

    Args:
        arguments: of the graph, as `mqe up` takes them; the backend is the sim, the goal not begun at once.
        goal: a goal file's path or name.
        out: new folder, for the processes' logs.
        say: told what happens.

    Returns the graph's banner and the outcome: task, seed, score, max_score, success, outcome, steps, seconds. RuntimeError, with the end of
    its log, where a process ends or nothing comes.
    """
    os.environ.update(own_domain())
    # The scene is scored as it is in the end, whatever the critic says: an arm that comes no closer for a while may still succeed.
    graph = build_graph({"backend": "sim", "autostart": "false", "stall_commands": "0", **arguments})
    out.mkdir(parents=True, exist_ok=True)
    for line in graph.banner:
        say(line)
    os.environ.update(graph.environment)
    supervisor = Supervisor(graph.environment, log_folder=out)
    try:
        say("starting the simulated WidowX250 and the nodes")
        supervisor.start(graph.processes)
        outcome = drive(graph, goal, _watching(supervisor), say)
    finally:
        codes = supervisor.stop()
    failed = {name: code for name, code in codes.items() if code != 0}
    if failed:
        raise RuntimeError(f"did not end cleanly: {failed}; see the logs in {out}")
    return graph.banner, outcome


def _watching(supervisor: Supervisor) -> Callable[[], None]:
    """A check that raises RuntimeError, with the end of its log, once a process has ended."""

    def check() -> None:
        ended = supervisor.ended()
        if ended is not None:
            raise RuntimeError(f"{ended[0]} ended with exit code {ended[1]}:\n{supervisor.log_tail(ended[0])}")

    return check


def drive(graph: Graph, goal: str, check: Callable[[], None], say: Say) -> dict[str, object]:
    """Ask for the goal, show the progress, and have the scene scored."""
    import rclpy
    from rclpy.action import ActionClient
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions
    from tqdm import tqdm

    from mqe_core.spec import load_robot_spec
    from mqe_interfaces.action import ReachGoal
    from mqe_interfaces.msg import PolicyStatus
    from mqe_ros import services, topics
    from mqe_ros.asking import answer
    from mqe_sim.server import Client

    # Ctrl-C stays Python's: it ends the processes as well.
    context = rclpy.Context()  # of its own: the caller may have one
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("scene_driver", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    scene = Client(graph.sim_address)
    try:
        info = scene.info()
        client = ActionClient(node, ReachGoal, services.REACH_GOAL)
        arm_states = []
        node.create_subscription(
            topics.ARM_STATUS.type, topics.ARM_STATUS.name, arm_states.append, topics.ARM_STATUS.qos
        )

        def listen() -> None:
            executor.spin_once(timeout_sec=0.1)
            check()

        def spin_until(done: Callable[[], bool], what: str, timeout_s: float) -> None:
            deadline = time.monotonic() + timeout_s
            while not done():
                listen()
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{what} did not happen within {timeout_s:.0f} s; see the logs")

        spin_until(client.server_is_ready, "the policy node's start", _START_TIMEOUT_S)
        spin_until(lambda: bool(arm_states), "the arm node's start", _START_TIMEOUT_S)
        period = load_robot_spec().control.period_s
        say(f"driving to the goal: at most {info['max_steps']} commands, one every {period} s")
        with tqdm(
            total=info["max_steps"],
            unit="command",
            file=sys.stdout,
            mininterval=0.5 if sys.stdout.isatty() else 3.0,
        ) as bar:

            def show(message: object) -> None:
                feedback = message.feedback
                distance = (
                    "" if math.isnan(feedback.steps_to_goal) else f"{feedback.steps_to_goal:.1f} steps to the goal"
                )
                bar.set_postfix_str(
                    distance if feedback.state == PolicyStatus.RUNNING else feedback.reason, refresh=False
                )
                bar.update(feedback.steps - bar.n)

            timeout = info["max_steps"] * period
            request = ReachGoal.Goal(goal_file=goal, timeout_s=timeout)
            accepted = answer(
                lambda: client.send_goal_async(request, feedback_callback=show),
                listen, _START_TIMEOUT_S, "the answer to the goal", only_newest=True,
            )  # fmt: skip
            reached = answer(accepted.get_result_async, listen, timeout + 10.0, "the end of the motion").result
        if reached.outcome == ReachGoal.Result.FAILED:
            raise RuntimeError(f"the policy node refused the goal: {reached.reason}")
        say("letting the scene come to rest and scoring it")
        score = scene.score()
        return {
            "task": info["task"],
            "seed": info["seed"],
            "score": score,
            "max_score": info["max_score"],
            "success": score >= info["max_score"],
            "outcome": reached.outcome,
            "steps": reached.steps,
            "seconds": reached.seconds,
        }
    finally:
        scene.close()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)
