"""Who may import whom. The robot's side must start without torch, PyBullet and ROS; nothing heavy loads
before it is needed.

spec, geometry, kinematics, images, bundle, …    the foundation: each other only
data, runtime       the foundation and themselves; never each other, never learning
learning            the foundation, data and itself; never runtime
evaluate, replay, cli, commands    on top
mqe_sim             the foundation and runtime; no torch, no ROS
ROS nodes           the foundation and runtime; backends come by entry point
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOUNDATION = (
    "bag_folders",
    "spec",
    "geometry",
    "kinematics",
    "images",
    "bundle",
    "bundle_contract",
    "golden_images",
    "goals",
    "progress",
    "ros_domain",
    "safe_pickle",
    "statistics",
    "user_files",
)
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


@pytest.mark.parametrize("name", FOUNDATION)
def test_the_foundation_stands_on_itself(name: str) -> None:
    names = imports(ROOT / "mqe_core" / f"{name}.py")
    allowed = {"numpy", "yaml", "PIL"} | ({"onnx", "onnxruntime"} if name == "bundle" else set())
    assert packages(names) - set(sys.stdlib_module_names) <= allowed
    assert parts(names) <= set(FOUNDATION) - {name}


@pytest.mark.parametrize(
    ("folder", "allowed", "forbidden"),
    [
        ("mqe_core/data", {*FOUNDATION, "data"}, ROS | HEAVY | {"mqe_sim"}),
        ("mqe_core/runtime", {*FOUNDATION, "runtime"}, ROS | {"torch", "pybullet", "cv2", "mqe_sim"}),
        ("mqe_core/learning", {*FOUNDATION, "data", "learning"}, ROS | {"pybullet", "mqe_sim"}),
        ("sim", {*FOUNDATION, "runtime"}, ROS | {"torch", "tensorboard"}),
        ("ros2_ws/src/mqe_ros", {*FOUNDATION, "runtime"}, {"torch", "pybullet", "mqe_sim"}),
        # No nodes: what starts them. It looks into stores for the mock, and its demo scores the sim.
        ("ros2_ws/src/mqe_bringup", {*FOUNDATION, "runtime", "data", "replay", "doctor"}, {"torch", "pybullet"}),
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


@pytest.mark.parametrize("name", ["evaluate", "replay", "cli"])
def test_what_sits_on_top_loads_no_torch(name: str) -> None:
    names = imports(ROOT / "mqe_core" / f"{name}.py")
    assert "learning" not in parts(names) and "torch" not in packages(names)


def test_commands_import_nothing_heavy_before_they_run() -> None:
    for path in [*files("mqe_core/commands"), ROOT / "sim" / "commands.py", ROOT / "mqe_core" / "cli.py"]:
        names = imports(path, top_level_only=True)
        assert packages(names) - set(sys.stdlib_module_names) <= {"numpy", "tqdm"}, path
        assert parts(names) <= {"commands"}, path


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
        ("import mqe_core.runtime.policy", {"torch", "rclpy", "pybullet", "cv2"}),
        (
            "import mqe_core.runtime.control_loop, mqe_core.runtime.arm_side, mqe_core.runtime.loopback",
            {"torch", "rclpy", "pybullet"},
        ),
        ("import mqe_core.runtime.safety", {"torch", "rclpy", "pybullet", "onnxruntime"}),
        ("import mqe_core.evaluate", {"torch", "rclpy", "pybullet"}),
        ("import mqe_core.data.episode_store", {"torch", "rclpy", "pybullet", "onnxruntime", "tensorflow"}),
        (
            "from mqe_core.cli import build_parser; build_parser()",
            {"torch", "rclpy", "pybullet", "onnxruntime", "onnx", "cv2", "PIL"},
        ),
        ("import mqe_sim.server", {"torch", "rclpy", "pybullet"}),
    ],
)
def test_a_fresh_interpreter_loads_no_more_than_it_needs(statement: str, absent: set[str]) -> None:
    loaded = loaded_by(statement)
    assert "numpy" in loaded or "build_parser" in statement
    assert not loaded & absent, sorted(loaded & absent)
