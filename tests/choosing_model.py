"""A policy graph without learning that chooses, for tests of what runs it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def choosing_model(size: int, candidates: int) -> onnx.ModelProto:
    """A graph whose critic chooses: candidate i moves (i + 1) mm along x, and is as many control steps from the goal as
    the mean red of the observation differs from 10 i. `last` is chosen within 0.5 steps of the nearest.
    """
    shape, actions = ["batch", size, size, 3], np.zeros((candidates, 7), np.float32)
    actions[:, 0], actions[:, 6] = 1e-3 * np.arange(1, candidates + 1), np.arange(candidates) % 2
    constants = {
        "pixels": np.array([1, 2, 3], np.int64),
        "row": np.array([1], np.int64),
        "red": np.array([1.0, 0.0, 0.0], np.float32),
        "wanted": 10.0 * np.arange(candidates, dtype=np.float32)[None],
        "actions": actions,
        "margin": np.float32(0.5),
        "three": np.float32(3.0),
        "zero": np.int64(0),
        "no": np.int64(-1),
    }
    nodes = [
        helper.make_node("Cast", ["observation"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["goal"], ["asked"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["seen", "red"], ["reds"]),
        helper.make_node("ReduceMean", ["reds", "pixels"], ["third"], keepdims=0),  # (B,), a third of the mean red
        helper.make_node("Mul", ["third", "three"], ["mean_red"]),
        helper.make_node("Unsqueeze", ["mean_red", "row"], ["column"]),
        helper.make_node("Sub", ["column", "wanted"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["distances"]),  # (B, N)
        helper.make_node("ReduceMin", ["distances", "row"], ["least"], keepdims=1),
        helper.make_node("ArgMin", ["distances"], ["best"], axis=1, keepdims=1),
        helper.make_node("Max", ["last", "zero"], ["known"]),
        helper.make_node("Unsqueeze", ["known", "row"], ["index"]),
        helper.make_node("GatherElements", ["distances", "index"], ["kept"], axis=1),
        helper.make_node("Add", ["least", "margin"], ["most"]),
        helper.make_node("LessOrEqual", ["kept", "most"], ["near"]),
        helper.make_node("Unsqueeze", ["last", "row"], ["before"]),
        helper.make_node("Greater", ["before", "no"], ["given"]),
        helper.make_node("And", ["near", "given"], ["stays"]),
        helper.make_node("Where", ["stays", "index", "best"], ["chosen_column"]),
        helper.make_node("Squeeze", ["chosen_column", "row"], ["chosen"]),
        helper.make_node("Gather", ["actions", "chosen"], ["action"]),
        helper.make_node("Squeeze", ["least", "row"], ["nearest"]),
        helper.make_node("ReduceMean", ["asked", "pixels"], ["goal_mean"], keepdims=0),
        helper.make_node("Add", ["nearest", "goal_mean"], ["steps_to_goal"]),
        helper.make_node("Shape", ["distances"], ["rows_and_candidates"]),
        helper.make_node("Concat", ["rows_and_candidates", "seven"], ["all"], axis=0),
        helper.make_node("Expand", ["actions", "all"], ["candidates"]),
    ]
    constants["seven"] = np.array([7], np.int64)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "choosing",
        [
            *(info(name, TensorProto.UINT8, shape) for name in ("observation", "goal")),
            info("last", TensorProto.INT64, ["batch"]),
        ],
        [
            info("action", TensorProto.FLOAT, ["batch", 7]),
            info("steps_to_goal", TensorProto.FLOAT, ["batch"]),
            info("chosen", TensorProto.INT64, ["batch"]),
            info("candidates", TensorProto.FLOAT, ["batch", candidates, 7]),
            info("distances", TensorProto.FLOAT, ["batch", candidates]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
