"""The fault suite's policy, which moves the arm to and fro by the colour of the picture, and its goal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mqe_core.images import encode_png
from mqe_core.policy.bundle import write_bundle
from mqe_core.policy.contract import BundleContract
from mqe_core.robot.spec import load_robot_spec
from tests.ros.ros_helpers import IMAGE_SIZE

SPEC = load_robot_spec()
STEP_M = 0.004  # of the policy, in each command


def write_swinging_policy(path: Path) -> None:
    """A bundle for real images: along x by the picture's red minus its blue, and NaN where it is nearly black."""

    def constant(name: str, value: object, kind: type) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(value, dtype=kind), name)

    images = [
        helper.make_tensor_value_info(n, TensorProto.UINT8, ["batch", IMAGE_SIZE, IMAGE_SIZE, 3])
        for n in ("observation", "goal")
    ]
    nodes = [
        helper.make_node("Cast", ["observation"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["goal"], ["wanted"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["seen", "pixels"], ["colours"], keepdims=0),
        helper.make_node("ReduceMean", ["wanted", "pixels"], ["goal_colours"], keepdims=0),
        helper.make_node("MatMul", ["colours", "along_x"], ["motion"]),
        helper.make_node("ReduceMean", ["colours", "channel"], ["level"], keepdims=1),
        helper.make_node("Sub", ["level", "darkest"], ["light"]),
        helper.make_node("Log", ["light"], ["finite_or_nan"]),
        helper.make_node("Mul", ["finite_or_nan", "nothing"], ["zero_or_nan"]),
        helper.make_node("Add", ["motion", "zero_or_nan"], ["moving"]),
        helper.make_node("Add", ["moving", "open"], ["action"]),
        helper.make_node("ReduceSum", ["goal_colours", "channel"], ["steps_to_goal"], keepdims=0),
    ]
    along_x = np.zeros((3, 7), np.float32)
    along_x[0, 0], along_x[2, 0] = STEP_M / 140, -STEP_M / 140
    weights = [
        constant("pixels", [1, 2], np.int64),
        constant("channel", [1], np.int64),
        constant("along_x", along_x, np.float32),
        constant("darkest", 8.0, np.float32),
        constant("nothing", 0.0, np.float32),
        constant("open", [[0, 0, 0, 0, 0, 0, 1]], np.float32),
    ]
    outputs = [
        helper.make_tensor_value_info("action", TensorProto.FLOAT, ["batch", 7]),
        helper.make_tensor_value_info("steps_to_goal", TensorProto.FLOAT, ["batch"]),
    ]
    graph = helper.make_graph(nodes, "swinging", images, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    contract = BundleContract(
        robot=SPEC.name,
        agent="swinging",
        domain="real",
        image_size=IMAGE_SIZE,
        control_hz=SPEC.control.control_hz,
        action_low=(-0.05,) * 3 + (-0.25,) * 3 + (0.0,),
        action_high=(0.05,) * 3 + (0.25,) * 3 + (1.0,),
        discount=0.98,
        data_fingerprint="none",
        commit="none",
    )
    write_bundle(model, contract, path)


def write_goal(path: Path) -> None:
    """A goal of the real camera."""
    picture = np.random.default_rng(5).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    path.write_bytes(encode_png(picture))
    path.with_suffix(".yaml").write_text(
        f"camera: {SPEC.camera.name}\nresize_rule: squash-lanczos\ndomain: real\ncapture_pose: [0.3, 0, 0.15, 0, "
        "0, 0, 1]\n"
    )
