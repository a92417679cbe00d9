"""One scene of the sim, driven to a goal through the whole graph in real time, and scored."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from mqe_bringup.graph import Graph, build_graph
from mqe_bringup.supervisor import Supervisor
from mqe_core.ros_domain import domain_of

DOMAIN_VARIABLE = "MQE_SCENE_DOMAIN"  # environment variable: the ROS domain, where somebody hands them out
_START_TIMEOUT_S = 60.0

Say = Callable[[str], None]


def own_domain() -> dict[str, str]:
    """The environment of a graph that talks to no other robot.

    Two such graphs on this machine meet only where their process numbers fall on one ROS domain.
    """
    domain = os.environ.get(DOMAIN_VARIABLE, str(domain_of(os.getpid())))
    return {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_DOMAIN_ID": domain}


def run_scene(arguments: dict[str, str], goal: str, out: Path, say: Say) -> tuple[tuple[str, ...], dict[str, object]]:
    """Start the graph, pursue `goal` for at most the task's time, score the scene at rest, and end the graph.

    Args:
        arguments: of the graph, as `mqe up` takes them. The backend is the sim, and the goal is not begun at once.
        goal: a goal file's path or name.
        out: new folder, for the processes' logs.
        say: told what happens.

    Returns the graph's banner and the outcome: task, seed, score, max_score, success, outcome, steps, seconds.
    RuntimeError, with the end of its log, where a process ends or nothing comes.
    """
    os.environ.update(own_domain())
    # The scene is scored as it is in the end, whatever the critic says: an arm that comes no closer for a while may
    # still succeed.
    graph = build_graph({"backend": "sim", "autostart": "false", "stall_commands": "0", **arguments})
    out.mkdir(parents=True, exist_ok=True)
    for line in graph.banner:
        say(line)
    os.environ.update(graph.environment)
    supervisor = Supervisor(graph.environment, log_folder=out)
    try:
        say("starting the simulated WidowX250 and the nodes")
        supervisor.start(graph.processes)
        outcome = drive(graph, goal, watching(supervisor), say)
    finally:
        codes = supervisor.stop()
    failed = {name: code for name, code in codes.items() if code != 0}
    if failed:
        raise RuntimeError(f"did not end cleanly: {failed}; see the logs in {out}")
    return graph.banner, outcome


def watching(supervisor: Supervisor) -> Callable[[], None]:
    """A check that raises RuntimeError, with the end of its log, once a process has ended."""

    def check() -> None:
        ended = supervisor.ended()
        if ended is not None:
            raise RuntimeError(f"{ended[0]} ended with exit code {ended[1]}:\n{supervisor.log_tail(ended[0])}")

    return check


def drive(graph: Graph, goal: str, check: Callable[[], None], say: Say) -> dict[str, object]:
    """Ask for the goal, show the progress, and have the scene scored. `check` raises where a process has ended."""
    from mqe_bringup.operator_node import Operator
    from mqe_bringup.progress_line import ProgressLine
    from mqe_core.robot.spec import load_robot_spec
    from mqe_interfaces.action import ReachGoal
    from mqe_ros import topics
    from mqe_ros.goal_client import GoalClient
    from mqe_sim.client import Client

    if graph.sim_address is None:
        raise ValueError("only a scene of the sim can be scored")
    with (
        contextlib.closing(Client(graph.sim_address)) as scene,
        Operator(takes_signals=False, check=check) as operator,
    ):
        info = scene.info()
        arm = operator.hear(topics.ARM_STATUS)
        client = GoalClient(operator.node, operator.listen)
        for there, who in ((client.is_there, "policy"), (lambda: bool(arm), "arm")):
            otherwise = f"the {who} node's start did not happen within {_START_TIMEOUT_S:.0f} s; see the logs"
            operator.wait(there, otherwise, _START_TIMEOUT_S)
        period = load_robot_spec().control.period_s
        say(f"driving to the goal: at most {info['max_steps']} commands, one every {period} s")
        timeout = info["max_steps"] * period
        line = ProgressLine(arm, sys.stdout)
        sent = client.send(ReachGoal.Goal(goal_file=goal, timeout_s=timeout), _START_TIMEOUT_S, line.show)
        reached = sent.result(timeout + 10.0)
        if reached.outcome == ReachGoal.Result.FAILED:
            raise RuntimeError(f"the policy node refused the goal: {reached.reason}")
        line.say(f"{reached.outcome} after {reached.steps} commands, {reached.seconds:.1f} s")
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
