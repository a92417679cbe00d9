"""What `mqe run` drives: robot, camera, clock and goal of one backend, from the command's arguments.

Making a rig moves no real arm. `Rig.start` does, after everything that can be refused has been checked.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from mqe_core.policy.domain import REAL, SIM
from mqe_core.policy.goals import Goal
from mqe_core.robot.arrays import Images
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.backends import make_robot, make_scene
from mqe_core.runtime.robot import Camera, Clock, MonotonicClock, Robot

_BRIDGE_SECONDS = 24.0  # 120 steps, BridgeData V2's evaluation
_STILL_SECONDS = 10.0  # how long the mock runs on a still picture unless told

# The arguments of `mqe run` that one backend alone reads. Their default is None, which tells whether one was given.
BACKEND_OF = {
    "task": "sim",
    "seed": "sim",
    "episodes": "mock",
    "episode": "mock",
    "domain": "mock",
    "host": "bridge-server",
    "port": "bridge-server",
    "camera_topic": "bridge-server",
    "table_height": "bridge-server",
}


@dataclass
class Rig:
    """What the loop drives, whichever backend it came from. `steps` are control periods."""

    name: str
    robot: Robot
    camera: Camera
    clock: Clock
    goal: Images  # (H, W, 3) RGB
    goal_domain: str
    camera_domain: str
    steps: int
    score: Callable[[], tuple[float, float]] | None  # (score, highest score), where the backend can judge
    close: Callable[[], None]
    # The motion of a real arm to where the loop begins; RuntimeError where it does not arrive.
    start: Callable[[], None] | None = None


def check_arguments(args: argparse.Namespace) -> None:
    """ValueError where an argument was given that the backend `args.backend` does not read."""
    for name, backend in BACKEND_OF.items():
        if getattr(args, name) is not None and backend != args.backend:
            raise ValueError(f"--{name.replace('_', '-')} belongs to --backend {backend}, not to {args.backend}")


def sim_rig(args: argparse.Namespace, spec: RobotSpec, goal: Goal | None) -> Rig:
    """A scene of the simulator, in real time: the goal's, else the one of `args.task` and `args.seed`.

    Raises ValueError where these do not fit the goal, or the goal is of no scene.
    """
    task, seed = args.task, args.seed
    if goal is not None:
        for name, asked, shown in (("task", task, goal.task), ("seed", seed, goal.seed)):
            if shown is None:
                raise ValueError(
                    f"{goal.path} does not say which simulated scene it shows; make one with `mqe sim goal`"
                )
            if asked is not None and asked != shown:
                raise ValueError(f"{goal.path} shows the scene with {name} {shown}, not {asked}; leave out --{name}")
        task, seed = goal.task, goal.seed
    task, seed = task or "place1", 0 if seed is None else seed
    scene = make_scene("sim", spec, task, seed, realtime=True)
    return Rig(
        name=f"{task} seed {seed}",
        robot=scene.robot,
        camera=scene.camera,
        clock=scene.clock,
        goal=scene.goal if goal is None else goal.image,
        goal_domain=SIM,
        camera_domain=SIM,
        steps=scene.max_steps,
        score=lambda: (float(scene.score()), float(scene.max_score)),
        close=scene.close,
    )


def mock_rig(args: argparse.Namespace, spec: RobotSpec, goal: Goal | None) -> Rig:
    """An arm of arithmetic before a stored episode, or before a still picture of the goal.

    Without a goal it is the episode's last frame. Raises ValueError where there is neither goal nor episode.
    """
    from mqe_core.closed_loop.stored_camera import episode_frames, store_domain
    from mqe_core.runtime.loopback import ReplayCamera

    if args.episodes is not None:
        episode = 0 if args.episode is None else args.episode
        name, frames = f"mock, episode {episode}", list(episode_frames(args.episodes, episode))
        domain = args.domain or store_domain(args.episodes)
        steps = len(frames)
    elif args.episode is not None or args.domain is not None:
        raise ValueError("--episode and --domain say more about --episodes STORE, which is missing")
    elif goal is not None:
        # The lowest bit flickers, as a camera's does: a picture that stays the same to the last bit is a frozen
        # camera's.
        name, frames, domain = f"mock, still picture of {goal.name}", [goal.image, goal.image ^ 1], goal.domain
        steps = round(_STILL_SECONDS * spec.control.control_hz)
    else:
        raise ValueError(
            "--backend mock needs something to show: --episodes STORE (made by `mqe data import`), or "
            "--goal for a still picture"
        )
    clock = MonotonicClock()
    robot = make_robot("mock", spec, clock=clock)
    camera = ReplayCamera(spec, clock=clock, frames=frames, domain=domain)

    def close() -> None:
        camera.close()
        robot.close()

    return Rig(
        name=name,
        robot=robot,
        camera=camera,
        clock=clock,
        goal=frames[-1] if goal is None else goal.image,
        goal_domain=domain if goal is None else goal.domain,
        camera_domain=domain,
        steps=steps,
        score=None,
        close=close,
    )


def bridge_server_rig(args: argparse.Namespace, spec: RobotSpec, goal: Goal | None) -> Rig:
    """A connection to the server at `args.host`, whose arm `start` moves to its start pose.

    Raises ValueError without a host or a goal, RuntimeError where the server does not answer or speaks another version.
    """
    from mqe_core.runtime.addresses import parse_address
    from mqe_core.runtime.bridge.bridge_robot import BridgeServerCamera, BridgeServerRobot
    from mqe_core.runtime.bridge.bridge_server import CAMERA_TOPIC, PORT, BridgeServer
    from mqe_core.runtime.safety.safe_robot import SafeRobot

    if args.host is None or goal is None:
        raise ValueError(
            "--backend bridge-server needs --host, where the server runs, and --goal, an image of the real scene"
        )
    clock = MonotonicClock()
    where = parse_address(args.host, PORT if args.port is None else args.port)
    if where.port is None or args.port not in (None, where.port):
        raise ValueError(f"--host {args.host} and --port {args.port} contradict each other; give the port once")
    server = BridgeServer(where.text, where.port, clock=clock)
    return Rig(
        name=f"bridge_data_robot server at {where.text.removeprefix('tcp://')}",
        robot=SafeRobot(BridgeServerRobot(spec, server=server), spec, clock),
        camera=BridgeServerCamera(server),
        clock=clock,
        goal=goal.image,
        goal_domain=goal.domain,
        camera_domain=REAL,
        steps=round(_BRIDGE_SECONDS * spec.control.control_hz),
        score=None,
        close=server.close,
        start=lambda: server.initialise(spec, CAMERA_TOPIC if args.camera_topic is None else args.camera_topic),
    )


RIGS = {"sim": sim_rig, "mock": mock_rig, "bridge-server": bridge_server_rig}
