"""`make demo`: start the graph with the simulated arm, drive it to a goal image, record, and write a report.

Writes runs/demo/<time>/: video.mp4, steps_to_goal.png, bag/ (MCAP), report.html, and the log of each process.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mqe_bringup.graph import Graph, build_graph
from mqe_bringup.supervisor import Supervisor
from mqe_core.runtime.robot import FIRST_EVALUATION_SEED

_START_TIMEOUT_S = 60.0
_TASK = "place1"  # of the scenes that --seed makes


def say(text: str) -> None:
    sys.stdout.write(f"== {text}\n")
    sys.stdout.flush()


def run(seed: int | None, policy: str, out: Path) -> int:
    """Drive one scene. Returns the process exit code; what happened stands in the summary line."""
    # A demo never talks to another robot, nor to another demo on this machine.
    os.environ.update(ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST", ROS_DOMAIN_ID=str(10 + os.getpid() % 90))
    scene = {"goal": "place.png"} if seed is None else {"task": _TASK, "seed": str(seed)}
    recorded = {"record": str(out / "bag"), "autostart": "false"}
    graph = build_graph({"backend": "sim", "policy": policy, **scene, **recorded})
    out.mkdir(parents=True)
    for line in graph.banner:
        say(line)
    goal = "place.png" if seed is None else str(_render_goal(seed, out))
    os.environ.update(graph.environment)
    supervisor = Supervisor(graph.environment, log_folder=out)
    try:
        say("starting the simulated WidowX250, the arm, camera, policy and recorder nodes")
        supervisor.start(graph.processes)
        outcome = _drive(graph, goal, _watching(supervisor))
    finally:
        codes = supervisor.stop()
    failed = {name: code for name, code in codes.items() if code != 0}
    if failed:
        raise RuntimeError(f"did not end cleanly: {failed}; see the logs in {out}")

    say("drawing the report")
    from mqe_bringup.report import write_report

    summary = write_report(out, graph.banner, outcome)
    sys.stdout.write(f"{summary}\n")
    return 0


def _render_goal(seed: int, out: Path) -> Path:
    from mqe_sim.goal_file import write_goal

    say(f"rendering the goal image of scene {seed}")
    path = out / "place.png"
    write_goal("widowx250s", _TASK, seed, path)
    return path


def _watching(supervisor: Supervisor) -> Callable[[], None]:
    """A check that raises RuntimeError, with the end of its log, once a process has ended."""

    def check() -> None:
        ended = supervisor.ended()
        if ended is not None:
            raise RuntimeError(
                f"{ended[0]} ended with exit code {ended[1]}:\n{supervisor.log_tail(ended[0])}"
            )

    return check


def _drive(graph: Graph, goal: str, check: Callable[[], None]) -> dict[str, object]:
    """Ask for the goal, show the progress, and have the scene scored."""
    import rclpy
    from rclpy.action import ActionClient
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions
    from tqdm import tqdm

    from mqe_core.spec import load_robot_spec
    from mqe_interfaces.action import ReachGoal
    from mqe_interfaces.msg import PolicyStatus
    from mqe_ros import topics
    from mqe_sim.server import Client

    # Ctrl-C stays Python's: it ends the processes as well.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("demo")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    scene = Client(graph.sim_address)
    try:
        info = scene.info()
        client = ActionClient(node, ReachGoal, topics.REACH_GOAL_ACTION)
        arm_states = []
        node.create_subscription(
            topics.ARM_STATUS.type, topics.ARM_STATUS.name, arm_states.append, topics.ARM_STATUS.qos
        )

        def spin_until(done: Callable[[], bool], what: str, timeout_s: float) -> None:
            deadline = time.monotonic() + timeout_s
            while not done():
                executor.spin_once(timeout_sec=0.1)
                check()
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
                    ""
                    if math.isnan(feedback.steps_to_goal)
                    else f"{feedback.steps_to_goal:.1f} steps to the goal"
                )
                bar.set_postfix_str(
                    distance if feedback.state == PolicyStatus.RUNNING else feedback.reason, refresh=False
                )
                bar.update(feedback.steps - bar.n)

            timeout = info["max_steps"] * period
            accepted = client.send_goal_async(
                ReachGoal.Goal(goal_file=goal, timeout_s=timeout), feedback_callback=show
            )
            spin_until(accepted.done, "the answer to the goal", 10.0)
            result = accepted.result().get_result_async()
            spin_until(result.done, "the end of the motion", timeout + 10.0)
        reached = result.result().result
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
        rclpy.try_shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument(
        "--seed", type=int, help="another scene and goal (default: the shipped goal place.png)"
    )
    parser.add_argument("--policy", default="", help="policy file (default: as for mqe up)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/demo") / time.strftime("%Y-%m-%d_%H-%M-%S"),
        help="new folder to write",
    )
    args = parser.parse_args()
    try:
        # As `mqe eval` counts: scenes that no training data holds.
        scene = None if args.seed is None else FIRST_EVALUATION_SEED + args.seed
        sys.exit(run(scene, args.policy, args.out.absolute()))
    except (ValueError, RuntimeError, OSError) as error:
        sys.stderr.write(f"demo: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("demo: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
