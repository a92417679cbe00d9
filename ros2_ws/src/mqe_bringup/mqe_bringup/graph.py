"""The graph of processes for given arguments, as plain data, for the launch file and for `mqe up`.

Everything that can be missing is looked for here, before anything starts: ValueError or FileNotFoundError say
what is missing and what to do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

from mqe_bringup.arguments import ARGUMENTS, boolean, number_of_commands, number_of_steps, record_folder, slot_seconds
from mqe_bringup.backends import choose_backend, table_height
from mqe_bringup.cameras import Camera, choose_camera
from mqe_bringup.consoles import choose_console
from mqe_bringup.process import Process, node
from mqe_bringup.teleops import choose_teleop
from mqe_core.policy.bundle import PolicyBundle, check_fit
from mqe_core.policy.contract import BundleContract
from mqe_core.policy.domain import check_domain
from mqe_core.policy.goals import Goal, check_camera, find_goal, read_goal
from mqe_core.robot.spec import RobotSpec, load_robot_spec, say_table_height, with_table_height
from mqe_core.runtime.addresses import POLICY_PORT, parse_address
from mqe_core.runtime.remote.keys import key_folder
from mqe_core.runtime.remote.remote_policy import RemotePolicy
from mqe_core.user_files import SHIPPED, SHIPPED_POLICY, goal_folder, policy_in_use, user_folder
from mqe_ros import transports
from mqe_ros.parameters import Value


@dataclass(frozen=True)
class Graph:
    """What to start, in this order, and what to tell the user first."""

    banner: tuple[str, ...]
    processes: tuple[Process, ...]
    environment: Mapping[str, str]
    sim_address: str | None = None


@dataclass(frozen=True)
class _Policy:
    """What acts: its name, who named it, its contract, and the policy node's parameters for it."""

    name: str
    source: str
    contract: BundleContract
    parameters: Mapping[str, str]


def build_graph(given: Mapping[str, str]) -> Graph:
    """The processes for these arguments. Those that are not given take their defaults."""
    arguments = {argument.name: given.get(argument.name, argument.default) for argument in ARGUMENTS}
    share = Path(get_package_share_directory("mqe_bringup"))
    folders = (goal_folder(), share / "goals")
    spec = load_robot_spec(arguments["robot"])
    dry_run, autostart = boolean(arguments, "dry_run"), boolean(arguments, "autostart")

    backend, why = choose_backend(arguments["backend"])
    policy = _find_policy(arguments, spec, share)
    contract = policy.contract
    goal = read_goal(find_goal(arguments["goal"], folders)) if arguments["goal"] else None
    if goal is not None:
        check_domain(contract.domain, goal.domain, f"the goal {goal.path}")
        check_camera(goal, spec.camera.name)
    address = f"ipc://@mqe-sim-{os.getuid()}-{os.getpid()}"  # @: a name without a file to clean up
    camera = choose_camera(arguments["camera"], backend, address, spec, share)
    _check_camera(contract, camera, policy.source)

    banner = [f"backend: {backend} ({why})"]
    processes = []
    shown: dict[str, Value] = {"camera_domain": camera.domain}  # by the console
    if backend == "sim":
        scene, of_scene, said = _scene(arguments, goal, spec, address)
        banner.append(said)
        processes.append(scene)
        shown.update(of_scene)
    arm: dict[str, Value] = {"backend": backend, "robot": spec.source, "dry_run": dry_run}
    height = table_height(arguments["table_height"], backend)
    if height is not None:
        arm["table_height_m"] = shown["table_height_m"] = with_table_height(spec, height).workspace.table_height_m
        banner.append(f"table: {say_table_height(height)}")
    processes.append(node("arm_node", {**arm, "address": address} if backend == "sim" else arm))
    if camera.process is not None:
        processes.append(camera.process)
    policy_parameters: dict[str, Value] = {
        **policy.parameters,
        "camera_domain": camera.domain,
        "robot": spec.source,
        "goal": str(goal.path) if goal is not None else "",
        "goal_folders": os.pathsep.join(map(str, folders)),
        "autostart": autostart,
        "self_activate": boolean(arguments, "self_activate"),
    }
    for name in ("reached_steps", "unreachable_steps"):
        if arguments[name]:
            policy_parameters[name] = number_of_steps(name, arguments[name])
    if arguments["stall_commands"]:
        policy_parameters["stall_commands"] = number_of_commands(arguments["stall_commands"])
    if arguments["slot_s"]:
        policy_parameters["slot_s"] = slot_seconds(arguments["slot_s"], spec.control.period_s)
    processes.append(node("policy_node", policy_parameters))
    banner.append(f"policy: {policy.name} ({policy.source}; {contract.agent}, trained on {contract.domain} images)")
    banner.append(_goal_line(goal, autostart))
    banner.append(f"camera: {camera.description}")
    teleop = choose_teleop(arguments["teleop"], spec)
    if teleop is not None:
        processes += teleop.processes
        banner.append(f"teleop: {teleop.description}")
    record = record_folder(arguments["record"])
    for name in ("reached_steps", "unreachable_steps"):
        shown[name] = float(policy_parameters.get(name, getattr(contract, name) or 0.0))
    shown["stall_commands"] = int(policy_parameters.get("stall_commands", contract.stall_commands or 0))
    processes += choose_console(arguments["console"], spec, folders, record, shown)
    if record is not None:
        processes.append(node("record_node", {"folder": str(record)}, is_needed=False))
        banner.append(f"recording to {record}")
    if dry_run:
        banner.append("DRY RUN: commands are judged, none is sent to the motors")
    # Our own nodes choose for themselves; a camera driver of another package needs it.
    environment = {transports.VARIABLE: str(transports.profile(transports.IMAGES))}
    return Graph(tuple(banner), tuple(processes), environment, address if backend == "sim" else None)


def _goal_line(goal: Goal | None, autostart: bool) -> str:
    if goal is None:
        return "goal: none yet; the arm waits for one (mqe goal send NAME)"
    return f"goal: {goal.path}" + (
        "" if autostart else " (shown; the arm drives there once it is sent: mqe goal send NAME)"
    )


def _find_policy(arguments: Mapping[str, str], spec: RobotSpec, share: Path) -> _Policy:
    """The server's policy, else the file that is given, configured or shipped. Opened once, to see that it fits."""
    server, keys = arguments["policy_server"], arguments["server_keys"]
    if server:
        if arguments["policy"]:
            raise ValueError("policy and policy_server exclude each other")
        server = parse_address(server, POLICY_PORT).text
        folder = None if keys == "none" else Path(keys).expanduser().resolve() if keys else key_folder()
        remote = RemotePolicy(server, keys=folder)
        remote.close()
        check_fit(remote.contract, spec)
        parameters = {"policy_server": server, "server_keys": keys if folder is None else str(folder)}
        return _Policy(server, "a server's", remote.contract, parameters)
    path, source = _policy_file(arguments["policy"], share)
    return _Policy(str(path), source, PolicyBundle.open(path, spec).contract, {"policy": str(path)})


def _policy_file(given: str, share: Path) -> tuple[Path, str]:
    """The file, and where it was named."""
    path, source = policy_in_use(given, share / "policies" / SHIPPED_POLICY)
    if source == SHIPPED and not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: build the workspace again (make setup), or name one with policy:=FILE"
        )
    return path, source


def _check_camera(contract: BundleContract, camera: Camera, source: str) -> None:
    if camera.domain != contract.domain:
        raise ValueError(
            f"the camera shows {camera.domain} images, but the policy ({source}) was trained on "
            f"{contract.domain} images and would act blindly. Train one on {camera.domain} data "
            f"(mqe data import, mqe train, mqe export) and name it: policy:=FILE, or `policy: FILE` in "
            f"{user_folder() / 'config.yaml'}"
        )


def _scene(
    arguments: Mapping[str, str], goal: Goal | None, spec: RobotSpec, address: str
) -> tuple[Process, dict[str, Value], str]:
    """The sim's process, the scene as parameters, and what the banner says about it."""
    task = arguments["task"] or (goal.task if goal is not None else None)
    if task is None:
        raise ValueError(
            "the sim needs a scene. goal:=NAME sets up that goal's and drives there (mqe goal list names goals); "
            "task:=TASK seed:=N sets up another one and waits for mqe goal send"
        )
    seed = arguments["seed"] or ("0" if arguments["task"] or goal is None else str(goal.seed))
    if not seed.isdigit():
        raise ValueError(f"seed must be a whole number from 0, got {seed!r}")
    own = goal is not None and (task, int(seed)) == (goal.task, goal.seed)
    said = f"scene: {task}, seed {seed}" + ("" if own or goal is None else " (NOT the goal's own scene)")
    command = ("--address", address, "--task", task, "--seed", seed, "--robot", spec.source)
    return Process("sim", "mqe_sim.server", arguments=command), {"task": task, "seed": int(seed)}, said
