"""The graph of processes for given arguments, as plain data, for the launch file and for `mqe up`.

Everything that can be missing is looked for here, before anything starts: ValueError or FileNotFoundError say
what and the remedy.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

from mqe_bringup.cameras import CHOICES, Camera, choose_camera
from mqe_bringup.process import Process, node
from mqe_core.bag_folders import require_new
from mqe_core.bundle import BundleContract, PolicyBundle, check_fit
from mqe_core.doctor import DRIVER_MODULE, SERIAL_DEVICE
from mqe_core.goals import Goal, check_camera, find_goal, read_goal
from mqe_core.runtime.keys import key_folder
from mqe_core.runtime.remote import RemotePolicy
from mqe_core.runtime.robot import check_domain
from mqe_core.spec import RobotSpec, load_robot_spec, say_table_height, with_table_height
from mqe_core.user_files import SHIPPED, SHIPPED_POLICY, goal_folder, measured_table_height, policy_in_use, user_folder

END_S = 15.0  # patience with a process that was told to end, before a harder signal: an arm parks


@dataclass(frozen=True)
class Argument:
    """One `name:=value` of the launch file and of `mqe up`."""

    name: str
    default: str
    description: str


ARGUMENTS = (
    Argument(
        "goal",
        "",
        "goal image to drive to at once: a path, or a name in ~/.mqe/goals or in mqe_bringup/goals (mqe goal list); "
        "empty: wait for `mqe goal send` (/reach_goal), in the sim with task:= and seed:= for the scene",
    ),
    Argument(
        "backend",
        "auto",
        "auto, hardware, sim or mock; auto: hardware where its driver and serial device are, else the sim",
    ),
    Argument("policy", "", "policy file; empty: the one in ~/.mqe/config.yaml, else the shipped one of the sim"),
    Argument("policy_server", "", "tcp://HOST:PORT of a running `mqe serve`, in place of a policy file"),
    Argument("server_keys", "", "folder of the server's keys; empty: ~/.mqe/keys; none: a server without keys"),
    Argument("camera", "auto", CHOICES),
    Argument(
        "table_height",
        "",
        "metres from the arm's mounting plane up to the table's surface; empty: table_height_m in ~/.mqe/config.yaml; "
        "hardware needs one of them",
    ),
    Argument("task", "", "sim: the task (place1, drawer_place, …); empty: the goal's, so without a goal it is needed"),
    Argument("seed", "", "sim: the scene's seed; empty: the goal's, or 0"),
    Argument("record", "false", "true, false, or a new folder for the MCAP bag"),
    Argument(
        "dry_run",
        "false",
        "true: judge every command, send none to the motors, and draw where each would lead on /arm/intended_path",
    ),
    Argument("autostart", "true", "false: show the goal, but wait for `mqe goal send` (/reach_goal)"),
    Argument("reached_steps", "", "steps_to_goal up to which a goal counts as reached; empty: the bundle's; 0: never"),
    Argument(
        "stall_commands",
        "",
        "so many commands without coming closer end a goal as stalled; empty: the bundle's; 0: none do",
    ),
    Argument(
        "self_activate",
        "true",
        "false: policy_node stays unconfigured until a lifecycle manager configures and activates it",
    ),
    Argument("robot", "widowx250s", "name of the robot spec"),
)


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


def parse_arguments(texts: list[str]) -> dict[str, str]:
    """["goal:=place.png", …] → {"goal": "place.png", …}. ValueError names an unknown argument."""
    known = {argument.name for argument in ARGUMENTS}
    values = {}
    for text in texts:
        name, mark, value = text.partition(":=")
        if not mark or name not in known:
            raise ValueError(
                f"unknown argument {text!r}; known, each as name:=value: {', '.join(sorted(known))} (mqe up --list-arguments explains them)"
            )
        values[name] = value
    return values


def build_graph(given: Mapping[str, str]) -> Graph:
    """The processes for these arguments; those not given take their defaults."""
    arguments = {argument.name: given.get(argument.name, argument.default) for argument in ARGUMENTS}
    share = Path(get_package_share_directory("mqe_bringup"))
    folders = (goal_folder(), share / "goals")
    spec = load_robot_spec(arguments["robot"])
    dry_run, autostart = _boolean(arguments, "dry_run"), _boolean(arguments, "autostart")

    backend, why = _choose_backend(arguments["backend"])
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
    if backend == "sim":
        scene, said = _scene(arguments, goal, spec, address)
        banner.append(said)
        processes.append(scene)
    arm = {"backend": backend, "robot": spec.source, "dry_run": dry_run}
    height = _table_height(arguments["table_height"], backend)
    if height is not None:
        arm["table_height_m"] = with_table_height(spec, height).workspace.table_height_m
        banner.append(f"table: {say_table_height(height)}")
    processes.append(node("arm_node", {**arm, "address": address} if backend == "sim" else arm))
    if camera.process is not None:
        processes.append(camera.process)
    policy_parameters = {
        **policy.parameters,
        "camera_domain": camera.domain,
        "robot": spec.source,
        "goal": str(goal.path) if goal is not None else "",
        "goal_folders": os.pathsep.join(map(str, folders)),
        "autostart": autostart,
        "self_activate": _boolean(arguments, "self_activate"),
    }
    if arguments["reached_steps"]:
        policy_parameters["reached_steps"] = _steps(arguments["reached_steps"])
    if arguments["stall_commands"]:
        policy_parameters["stall_commands"] = _commands(arguments["stall_commands"])
    processes.append(node("policy_node", policy_parameters))
    banner.append(f"policy: {policy.name} ({policy.source}; {contract.agent}, trained on {contract.domain} images)")
    banner.append(_goal_line(goal, autostart))
    banner.append(f"camera: {camera.description}")
    record = _record_folder(arguments["record"])
    if record is not None:
        processes.append(node("record_node", {"folder": str(record)}, is_needed=False))
        banner.append(f"recording to {record}")
    if dry_run:
        banner.append("DRY RUN: commands are judged, none is sent to the motors")
    environment = {"FASTRTPS_DEFAULT_PROFILES_FILE": str(share / "config" / "fastdds.xml")}
    return Graph(tuple(banner), tuple(processes), environment, address if backend == "sim" else None)


def _goal_line(goal: Goal | None, autostart: bool) -> str:
    if goal is None:
        return "goal: none yet; the arm waits for one (mqe goal send NAME)"
    return f"goal: {goal.path}" + ("" if autostart else " (shown only; the arm waits for mqe goal send NAME)")


def missing_for_hardware() -> list[tuple[str, str]]:
    """(what, remedy) of each thing that a real arm needs and this machine lacks."""
    missing = []
    if importlib.util.find_spec(DRIVER_MODULE) is None:
        remedy = (
            "install Interbotix's X-Series packages, and this project beside them in your ROS installation's Python (the wheels of `make setup` "
            "have no driver), and source both workspaces here: docs/hardware.md, Installing"
        )
        missing.append((f"the arm's driver {DRIVER_MODULE} is not installed", remedy))
    if not SERIAL_DEVICE.exists():
        remedy = "power the arm, plug in its U2D2, and install Interbotix's udev rules, which name the port: docs/hardware.md, Wiring"
        missing.append((f"the arm's serial device {SERIAL_DEVICE} does not exist", remedy))
    return missing


def _choose_backend(requested: str) -> tuple[str, str]:
    """(backend, why)."""
    installed = {entry.name for entry in entry_points(group="mqe.robots")}
    if requested not in ("auto", "hardware", "sim", "mock"):
        raise ValueError(f"backend {requested!r} is unknown; expected auto, hardware, sim or mock")
    missing = (
        missing_for_hardware()
        if "hardware" in installed
        else [("mqe_ros is not installed", "build the workspace: make setup")]
    )
    if requested == "hardware" and missing:
        what, remedies = zip(*missing)
        steps = "; ".join(f"({number}) {remedy}" for number, remedy in enumerate(remedies, 1))
        raise ValueError(
            f"backend hardware cannot start: {', and '.join(what)}. Next: {steps}. Without an arm use backend:=sim"
        )
    if requested == "auto":
        return ("sim", f"auto: {missing[0][0]}") if missing else ("hardware", "auto: driver and serial device found")
    return requested, "asked for"


def _table_height(given: str, backend: str) -> float | None:
    """Metres; None: the robot file's, which is the simulated table's. A real one has no default."""
    try:
        height = float(given) if given else None
    except ValueError:
        raise ValueError(f"table_height must be a number of metres, got {given!r}") from None
    return measured_table_height(height) if backend == "hardware" else height


def _steps(text: str) -> float:
    try:
        steps = float(text)
    except ValueError:
        steps = -1.0
    if not 0.0 <= steps < float("inf"):
        raise ValueError(f"reached_steps must be a number from 0, got {text!r}")
    return steps


def _commands(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"stall_commands must be a whole number from 0, got {text!r}")
    return int(text)


def _find_policy(arguments: Mapping[str, str], spec: RobotSpec, share: Path) -> _Policy:
    """The server's, else the file that is given, configured or shipped; opened once, to see that it fits."""
    server, keys = arguments["policy_server"], arguments["server_keys"]
    if server:
        if arguments["policy"]:
            raise ValueError("policy and policy_server exclude each other")
        folder = None if keys == "none" else Path(keys).expanduser().resolve() if keys else key_folder()
        remote = RemotePolicy(server, keys=folder)
        remote.close()
        check_fit(remote.contract, spec)
        parameters = {"policy_server": server, "server_keys": keys if folder is None else str(folder)}
        return _Policy(server, "a server's", remote.contract, parameters)
    path, source = _policy_file(arguments["policy"], share)
    return _Policy(str(path), source, PolicyBundle.open(path, spec).contract, {"policy": str(path)})


def _policy_file(given: str, share: Path) -> tuple[Path, str]:
    """(file, where it was named)."""
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


def _scene(arguments: Mapping[str, str], goal: Goal | None, spec: RobotSpec, address: str) -> tuple[Process, str]:
    """The sim's process, and what the banner says about the scene."""
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
    return Process("sim", "mqe_sim.server", arguments=command), said


def _record_folder(value: str) -> Path | None:
    if value.lower() == "false":
        return None
    if value.lower() != "true" and "/" not in value:
        raise ValueError(f"record must be true, false or a folder's path with a / in it, got {value!r}")
    folder = (
        Path(time.strftime("runs/bags/%Y-%m-%d_%H-%M-%S") if value.lower() == "true" else value).expanduser().absolute()
    )
    require_new(folder)
    return folder


def _boolean(arguments: Mapping[str, str], name: str) -> bool:
    if arguments[name].lower() not in ("true", "false"):
        raise ValueError(f"{name} must be true or false, got {arguments[name]!r}")
    return arguments[name].lower() == "true"
