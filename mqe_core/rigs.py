"""What `mqe run` drives: robot, camera, clock and goal of one backend, from the command's arguments.

ValueError where an argument is missing or belongs to another backend.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mqe_core.goals import Goal
from mqe_core.runtime.robot import Camera, Clock, MonotonicClock, Robot, make_robot, make_scene
from mqe_core.spec import RobotSpec

_BRIDGE_SECONDS = 24.0  # 120 steps, BridgeData V2's evaluation
_STILL_SECONDS = 10.0  # how long the mock runs on a still picture unless told


@dataclass
class Rig:
    """What the loop drives, whichever backend it came from."""

    name: str
    robot: Robot
    camera: Camera
    clock: Clock
    goal: np.ndarray
    goal_domain: str
    camera_domain: str
    steps: int
    score: Callable[[], tuple[float, float]] | None  # (score, highest score), where the backend can judge
    close: Callable[[], None]


def sim_rig(args: argparse.Namespace, spec: RobotSpec, goal: Goal | None) -> Rig:
    if args.episodes is not None or args.domain is not None:
        raise ValueError("--episodes and --domain belong to --backend mock; the sim draws its own frames")
    task, seed = args.task, args.seed
    if goal is not None:
        for name, asked, shown in (("task", task, goal.task), ("seed", seed, goal.seed)):
            if shown is None:
                raise ValueError(
                    f"{goal.path} does not say which simulated scene it shows; make one with `mqe sim goal`"
                )
            if asked is not None and asked != shown:
                raise ValueError(
                    f"{goal.path} shows the scene with {name} {shown}, not {asked}; leave out --{name}"
                )
        task, seed = goal.task, goal.seed
    task, seed = task or "place1", 0 if seed is None else seed
    scene = make_scene("sim", spec, task, seed, realtime=True)
    return Rig(
        name=f"{task} seed {seed}",
        robot=scene.robot,
        camera=scene.camera,
        clock=scene.clock,
        goal=scene.goal if goal is None else goal.image,
        goal_domain="sim",
        camera_domain="sim",
        steps=scene.max_steps,
        score=lambda: (float(scene.score()), float(scene.max_score)),
        close=scene.close,
    )


def mock_rig(args: argparse.Namespace, spec: RobotSpec, goal: Goal | None) -> Rig:
    from mqe_core.replay import episode_frames, store_domain
    from mqe_core.runtime.loopback import ReplayCamera

    if args.task is not None or args.seed is not None:
        raise ValueError("--task and --seed belong to --backend sim; the mock has no scene")
    if args.episodes is not None:
        name, frames, domain = (
            f"mock, episode {args.episode}",
            episode_frames(args.episodes, args.episode),
            store_domain(args.episodes),
        )
        steps = len(frames)
    elif goal is not None:
        # The lowest bit flickers, as a camera's does: a picture that stays the same to the last bit is a frozen camera's.
        name, frames, domain = f"mock, still picture of {goal.name}", [goal.image, goal.image ^ 1], goal.domain
        steps = round(_STILL_SECONDS * spec.control.control_hz)
    else:
        raise ValueError(
            "--backend mock needs something to show: --episodes STORE (made by `mqe data import`), or "
            "--goal for a still picture"
        )
    domain = args.domain or domain
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
    from mqe_core.runtime.bridge_server import BridgeServer, BridgeServerCamera, BridgeServerRobot
    from mqe_core.runtime.safe_robot import SafeRobot

    if args.task is not None or args.seed is not None or args.episodes is not None or args.domain is not None:
        raise ValueError("--task, --seed, --episodes and --domain belong to the other backends")
    if args.host is None or goal is None:
        raise ValueError("--backend bridge-server needs --host, where the server runs, and --goal, an image of the real scene")
    clock = MonotonicClock()
    server = BridgeServer(args.host, args.port, spec=spec, camera_topic=args.camera_topic)
    return Rig(
        name=f"bridge_data_robot server at {args.host}:{args.port}",
        robot=SafeRobot(BridgeServerRobot(spec, clock=clock, server=server), spec, clock),
        camera=BridgeServerCamera(server),
        clock=clock,
        goal=goal.image,
        goal_domain=goal.domain,
        camera_domain="real",
        steps=round(_BRIDGE_SECONDS * spec.control.control_hz),
        score=None,
        close=server.close,
    )


RIGS = {"sim": sim_rig, "mock": mock_rig, "bridge-server": bridge_server_rig}
