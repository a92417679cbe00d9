"""Fixtures for the whole suite."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.policy.bundle import write_bundle
from mqe_core.policy.contract import BundleContract
from mqe_core.robot.spec import RobotSpec, load_robot_spec
from tests.choosing_model import choosing_model

pytest.register_assert_rewrite("tests.runtime.robot_contract")


DEAF_S = 120.0  # beyond a test's own time; one that hangs in compiled code hears nothing of that
TERMINAL = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """A suite that a script runs in the background inherits a Ctrl-C that is ignored, and so would what it starts."""
    config.stash[TERMINAL] = os.dup(2)  # while it is the terminal's: during a test it is captured
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[object]:
    """The process ends, with every thread's stack, where a test can be ended by nothing else."""
    _begin_to_wait(item)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Where the test failed, pytest has ended the waiting, for a debugger's sake."""
    _begin_to_wait(item)
    return (yield)


def _begin_to_wait(item: pytest.Item) -> None:
    """By pytest-timeout's own rules of how long."""
    own = item.get_closest_marker("timeout")
    given = None if own is None else own.args[0] if own.args else own.kwargs.get("timeout")
    for more in (item.config.getoption("timeout", None), item.config.getini("timeout")):
        given = more if given is None else given
    limit_s = float(given or 0.0)
    if limit_s > 0.0:
        faulthandler.dump_traceback_later(limit_s + DEAF_S, exit=True, file=item.config.stash[TERMINAL])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In several processes (`--dist loadgroup`) a file's tests stay together, for the sake of their fixtures. Those of
    the ROS graph all do, should somebody run them so: two graphs at once would wait for each other.
    """
    here = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(here)
        item.add_marker(pytest.mark.xdist_group("ros" if place.parts[0] == "ros" else str(place)))


@pytest.fixture(scope="session")
def synthetic_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny EpisodeStore: 6 episodes of 12 frames, one camera of 32 pixels, seeded; read-only by agreement."""
    path = tmp_path_factory.mktemp("synthetic") / "store"
    rng = np.random.default_rng(0)
    with EpisodeWriter(path, image_size=32, source="tests/conftest.py", domain="sim") as writer:
        for i in range(6):
            states = rng.normal([0.3, 0.0, 0.1, 0, 0, 0, 0.5], 0.05, size=(12, 7))
            actions = rng.normal(0.0, [0.01] * 3 + [0.03] * 3 + [0.0], size=(11, 7))
            actions[:, 6] = rng.integers(0, 2, size=11)
            frames = [rng.integers(0, 256, size=(32, 32, 3), dtype=np.uint8) for _ in range(12)]
            writer.add(Episode(f"episode{i}", states, actions, {0: frames}, (f"task {i % 2}",)))
    return path


@pytest.fixture(scope="session")
def spec() -> RobotSpec:
    """The WidowX250."""
    return load_robot_spec("widowx250s")


def tiny_model(size: int, action: tuple[float, ...], with_steps: bool = True) -> onnx.ModelProto:
    """A policy graph without learning: `action + 0.001 * mean red of the observation / 255`, and the summed difference
    of mean colours.
    """
    shape = ["batch", size, size, 3]
    nodes = [
        helper.make_node("Cast", ["observation"], ["observation_f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["goal"], ["goal_f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["observation_f", "pixels"], ["observation_mean"], keepdims=0),  # (B, 3)
        helper.make_node("ReduceMean", ["goal_f", "pixels"], ["goal_mean"], keepdims=0),
        helper.make_node("MatMul", ["observation_mean", "weight"], ["shift"]),
        helper.make_node("Add", ["shift", "constant"], ["action"]),
        helper.make_node("Sub", ["observation_mean", "goal_mean"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["distance"]),
        helper.make_node("ReduceSum", ["distance", "channels"], ["steps_to_goal"], keepdims=0),
    ]
    weight = np.zeros((3, 7), dtype=np.float32)
    weight[0] = 1e-3 / 255
    constants = {
        "pixels": np.array([1, 2], dtype=np.int64),
        "channels": np.array([1], dtype=np.int64),
        "weight": weight,
        "constant": np.array(action, dtype=np.float32),
    }
    outputs = [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["batch", 7])]
    if with_steps:
        outputs.append(helper.make_tensor_value_info("steps_to_goal", TensorProto.FLOAT, ["batch"]))
    graph = helper.make_graph(
        nodes if with_steps else nodes[:6],
        "tiny",
        [helper.make_tensor_value_info(n, TensorProto.UINT8, shape) for n in ("observation", "goal")],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory, spec: RobotSpec) -> Callable[..., Path]:
    """Write a tiny policy bundle: `make_bundle(domain=…, image_size=…, action=…, with_steps=…, model=…, **contract
    keys) -> path`.
    """

    def make(
        *,
        domain: str = "sim",
        image_size: int = 32,
        action: tuple[float, ...] = (0.01, 0, 0, 0, 0, 0, 1),
        with_steps: bool = True,
        model: onnx.ModelProto | None = None,
        **contract,
    ) -> Path:
        low, high = (-0.05,) * 3 + (-0.25,) * 3 + (0.0,), (0.05,) * 3 + (0.25,) * 3 + (1.0,)
        defaults = {
            "robot": spec.name,
            "agent": "none",
            "control_hz": 5.0,
            "action_low": low,
            "action_high": high,
            "discount": 0.99 if with_steps else None,
            "data_fingerprint": "0" * 64,
            "commit": "none",
            "metrics": {"loss": 0.5},
        }
        path = tmp_path_factory.mktemp("bundle") / "policy.onnx"
        statement = BundleContract(domain=domain, image_size=image_size, **{**defaults, **contract})
        write_bundle(model or tiny_model(image_size, action, with_steps), statement, path)
        return path

    return make


@pytest.fixture(scope="session")
def choosing_bundle(make_bundle: Callable[..., Path]) -> Path:
    """A tiny bundle whose critic chooses among four candidates: see `choosing_model`."""
    return make_bundle(model=choosing_model(32, 4), candidates=4, flow_steps=2, choice_margin=0.5, answer_actions=1)
