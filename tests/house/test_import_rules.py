"""Who may import whom. The robot's side must start without torch, PyBullet and ROS; nothing heavy loads
before it is needed. `docs/architecture.md` draws it.

files, robot, images, policy   the ground floor: each other only, in this order
data, runtime               the ground floor and themselves; never each other, never learning
learning                    the ground floor, data and itself; never runtime
ogbench                     the ground floor, data, learning and itself; the package of that name inside functions only
closed_loop                 the ground floor, data and runtime; no torch
console                     the ground floor, data and runtime; no torch, no ROS
commands, cli               on top
mqe_sim                     the ground floor and runtime; no torch, no ROS
ROS nodes                   the ground floor, runtime and console; backends come by entry point
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Loose modules that need nothing of ours but files and interrupts, and the packages of the ground floor.
LOOSE = {"interrupts", "ros_domain", "ros_names", "safe_pickle", "user_files", "workspace"}
FOUNDATION = {*LOOSE, "files", "robot", "images", "policy"}
MOST_LOOSE_MODULES = 9
ROS = {
    "rclpy",
    "mqe_ros",
    "mqe_interfaces",
    "mqe_bringup",
    "ament_index_python",
    "launch",
    "launch_ros",
    "sensor_msgs",
    "geometry_msgs",
    "std_msgs",
    "std_srvs",
}
HEAVY = {
    "torch",
    "tensorboard",
    "pybullet",
    "pybullet_utils",
    "cv2",
    "onnx",
    "onnxruntime",
    "zmq",
    "matplotlib",
}


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Full names of the modules a file imports; `from a import b` counts as a and a.b. Imports for type
    checkers do not count.
    """
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if top_level_only and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who is imported"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def packages(names: set[str]) -> set[str]:
    """Third-party or standard top-level packages among imported names."""
    return {name.split(".")[0] for name in names} - {"mqe_core"}


def parts(names: set[str]) -> set[str]:
    """Which parts of mqe_core are imported: `mqe_core.data.episode` → data."""
    return {name.split(".")[1] for name in names if name.startswith("mqe_core.")}


def files(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"no Python files under {folder}"
    return found


def ground_floor() -> list[tuple[Path, set[str], set[str]]]:
    """(file, parts of ours, packages of others) that it may import."""
    libraries = {"numpy", "yaml", "PIL"}
    rows = [(ROOT / "mqe_core" / f"{name}.py", {"files", "interrupts", name}, {"yaml"}) for name in sorted(LOOSE)]
    rows += [(path, {"files"}, {"yaml", "tqdm"}) for path in files("mqe_core/files")]
    rows += [(path, {"files", "robot"}, libraries) for path in files("mqe_core/robot")]
    rows += [(ROOT / "mqe_core" / "images.py", {"files", "robot", "images"}, libraries)]
    policy = {"files", "robot", "images", "policy"}
    rows += [(path, policy, libraries | {"onnx", "onnxruntime"}) for path in files("mqe_core/policy")]
    return rows


@pytest.mark.parametrize(("path", "ours", "others"), ground_floor(), ids=lambda value: getattr(value, "stem", ""))
def test_the_ground_floor_stands_on_itself(path: Path, ours: set[str], others: set[str]) -> None:
    names = imports(path)
    assert packages(names) - set(sys.stdlib_module_names) <= others
    assert parts(names) <= ours


@pytest.mark.parametrize(
    ("folder", "allowed", "forbidden"),
    [
        ("mqe_core/data", {*FOUNDATION, "data"}, ROS | HEAVY | {"mqe_sim"}),
        ("mqe_core/runtime", {*FOUNDATION, "runtime"}, ROS | {"torch", "pybullet", "cv2", "mqe_sim"}),
        ("mqe_core/learning", {*FOUNDATION, "data", "learning"}, ROS | {"pybullet", "mqe_sim"}),
        ("mqe_core/ogbench", {*FOUNDATION, "data", "learning", "ogbench"}, ROS | {"pybullet", "mqe_sim"}),
        (
            "mqe_core/console",
            {*FOUNDATION, "data", "runtime", "console"},
            ROS | {"torch", "pybullet", "cv2", "mqe_sim"},
        ),
        ("sim", {*FOUNDATION, "runtime"}, ROS | {"torch", "tensorboard"}),
        ("ros2_ws/src/mqe_ros", {*FOUNDATION, "runtime", "console"}, {"torch", "pybullet", "mqe_sim"}),
        # No nodes: what starts them. It looks into stores for the mock, and its demo scores the sim.
        ("ros2_ws/src/mqe_bringup", {*FOUNDATION, "runtime", "data", "closed_loop", "console"}, {"torch", "pybullet"}),
    ],
)
def test_layers(folder: str, allowed: set[str], forbidden: set[str]) -> None:
    for path in files(folder):
        names = imports(path)
        assert parts(names) <= allowed, f"{path} imports {sorted(parts(names) - allowed)} of mqe_core"
        assert not packages(names) & forbidden, f"{path} imports {sorted(packages(names) & forbidden)}"


def test_mqe_core_knows_neither_ros_nor_the_simulator() -> None:
    for path in files("mqe_core"):
        found = packages(imports(path)) & (ROS | {"pybullet", "pybullet_utils", "mqe_sim"})
        # `mqe up` starts the ROS processes; it may reach for their graph inside its run().
        if path.name == "up.py":
            found = packages(imports(path, top_level_only=True)) & (ROS | {"mqe_sim"})
        assert not found, f"{path} imports {sorted(found)}"


def test_environments_are_imported_where_they_are_made() -> None:
    """Reading data and training need neither MuJoCo nor the package."""
    for path in files("mqe_core/ogbench"):
        assert not packages(imports(path, top_level_only=True)) & {"ogbench", "gymnasium", "mujoco"}, path
    for path in files("mqe_core/learning"):
        assert not packages(imports(path)) & {"ogbench", "gymnasium", "mujoco"}, path


@pytest.mark.parametrize(
    "path", [*files("mqe_core/closed_loop"), ROOT / "mqe_core" / "cli.py"], ids=lambda path: path.stem
)
def test_what_sits_on_top_loads_no_torch(path: Path) -> None:
    names = imports(path)
    assert "learning" not in parts(names) and "torch" not in packages(names)


def modules() -> dict[str, Path]:
    """Every module of ours by its full name, the simulator and the ROS packages too."""
    homes = {"mqe_core": ROOT / "mqe_core", "mqe_sim": ROOT / "sim"}
    homes |= {name: ROOT / "ros2_ws" / "src" / name / name for name in ("mqe_ros", "mqe_bringup")}
    found = {}
    for package, home in homes.items():
        for path in home.rglob("*.py"):
            name = ".".join((package, *path.relative_to(home).with_suffix("").parts))
            found[name.removesuffix(".__init__")] = path
    return found


def test_no_module_is_imported_in_a_circle_not_even_lazily() -> None:
    known = modules()
    graph = {name: {other for other in imports(path) if other in known} for name, path in known.items()}
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"import circle: {' -> '.join((*way[way.index(name) :], name))}"
        if name not in done:
            for other in sorted(graph[name] - {name}):
                walk(other, (*way, name))
            done.add(name)

    for name in sorted(graph):
        walk(name, ())


def test_a_name_is_imported_from_where_it_is_defined() -> None:
    """What a module imports for itself is not its to give away: a name has one home."""
    known = modules()
    borrowed = {name: imports(path, top_level_only=True) - known.keys() for name, path in known.items()}
    folders = ("mqe_core", "sim", "ros2_ws/src", "tests", "benchmarks")
    for path in [path for folder in folders for path in files(folder)]:
        for full_name in imports(path) - known.keys():
            module, _, name = full_name.rpartition(".")
            homes = [other for other in borrowed.get(module, ()) if other.endswith(f".{name}")]
            assert not homes, f"{path} takes {name} from {module}; its home is {homes[0].rpartition('.')[0]}"


def test_few_modules_lie_loose() -> None:
    loose = [path.name for path in (ROOT / "mqe_core").glob("*.py") if path.name != "__init__.py"]
    assert len(loose) <= MOST_LOOSE_MODULES, sorted(loose)


def test_commands_import_nothing_heavy_before_they_run() -> None:
    for path in [*files("mqe_core/commands"), ROOT / "sim" / "commands.py", ROOT / "mqe_core" / "cli.py"]:
        names = imports(path, top_level_only=True)
        assert packages(names) - set(sys.stdlib_module_names) <= {"numpy", "tqdm"}, path
        ours = {name for name in names if name.startswith("mqe_core.") and not name.startswith("mqe_core.commands")}
        assert all(name.startswith(("mqe_core.policy.domain", "mqe_core.__version__")) for name in ours), (
            f"{path}: {sorted(ours)}"
        )


def test_the_arms_driver_is_known_in_one_file() -> None:
    for path in [path for folder in ("mqe_core", "sim", "ros2_ws/src", "benchmarks") for path in files(folder)]:
        found = {package for package in packages(imports(path)) if package.startswith("interbotix")}
        assert not found or path.name == "xs_driver.py", f"{path} imports {sorted(found)}"


def test_nothing_imports_the_tests() -> None:
    for folder in ("mqe_core", "sim", "ros2_ws/src", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            assert "tests" not in packages(imports(path)), path


def loaded_by(statement: str) -> set[str]:
    """Top-level packages in a fresh interpreter after `statement`."""
    code = f"{statement}\nimport sys\nprint(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import mqe_core.runtime.onnx_policy", {"torch", "rclpy", "pybullet", "cv2"}),
        (
            "import mqe_core.runtime.control_loop, mqe_core.runtime.arm_side, mqe_core.runtime.loopback",
            {"torch", "rclpy", "pybullet"},
        ),
        ("import mqe_core.runtime.safety.safety_filter", {"torch", "rclpy", "pybullet", "onnxruntime"}),
        ("import mqe_core.closed_loop.evaluate", {"torch", "rclpy", "pybullet"}),
        ("import mqe_core.data.store.episode_store", {"torch", "rclpy", "pybullet", "onnxruntime", "tensorflow"}),
        (
            "from mqe_core.cli import build_parser; build_parser()",
            {"torch", "rclpy", "pybullet", "onnxruntime", "onnx", "cv2", "PIL"},
        ),
        ("import mqe_sim.client", {"torch", "rclpy", "pybullet"}),
    ],
)
def test_a_fresh_interpreter_loads_no_more_than_it_needs(statement: str, absent: set[str]) -> None:
    loaded = loaded_by(statement)
    assert "numpy" in loaded or "build_parser" in statement
    assert not loaded & absent, sorted(loaded & absent)
