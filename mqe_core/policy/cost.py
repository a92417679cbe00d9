"""What a policy's graph costs: its numbers, and the multiplications of one answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime

from mqe_core.policy.goal_once import cut_at_goal

_COUNTED = ("Conv", "MatMul", "Gemm")
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class GraphCost:
    """Of one answer to one observation."""

    parameters: int  # numbers that its layers read
    macs: int  # multiplications with an addition, of convolutions and matrix products
    goal_macs: int  # of those, what depends on the goal alone, so is computed once per goal
    weights: str  # float32, or float16 where large ones are kept in it


def graph_cost(model: onnx.ModelProto) -> GraphCost:
    """Counts them, by the shapes that the graph has when it answers once."""
    graph = model.graph
    read = {name for node in graph.node for name in node.input}
    parameters = sum(math.prod(entry.dims) for entry in graph.initializer if entry.name in read)
    has_half = any(entry.data_type == onnx.TensorProto.FLOAT16 for entry in graph.initializer)
    shapes = _shapes(model)
    macs = {node.output[0]: _macs(node, shapes) for node in graph.node if node.op_type in _COUNTED}
    parts = cut_at_goal(model)
    once = {node.output[0] for node in parts[0].graph.node} if parts else set()
    goal_macs = sum(count for name, count in macs.items() if name in once)
    return GraphCost(parameters, sum(macs.values()), goal_macs, "float16" if has_half else "float32")


def _shapes(model: onnx.ModelProto) -> Shapes:
    """Of what the counted operations read and answer, for a batch of one."""
    wanted = {
        name for node in model.graph.node if node.op_type in _COUNTED for name in (*node.input[:2], node.output[0])
    }
    shapes = {entry.name: tuple(entry.dims) for entry in model.graph.initializer}
    inputs = {value.name: value for value in model.graph.input}
    asked = sorted(wanted - shapes.keys() - inputs.keys())
    opened = onnx.ModelProto.FromString(model.SerializeToString())  # the caller's stays as it is
    del opened.graph.output[:]
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in asked)
    options = onnxruntime.SessionOptions()
    # Nothing is fused away, and nothing is said of what no output needs.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(opened.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed = {}
    for name, value in inputs.items():
        tensor = value.type.tensor_type
        size = (1, *(dim.dim_value for dim in tensor.shape.dim[1:]))
        fed[name] = np.zeros(size, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        shapes[name] = size
    return shapes | {name: found.shape for name, found in zip(asked, session.run(asked, fed))}


def _macs(node: onnx.NodeProto, shapes: Shapes) -> int:
    places = math.prod(shapes[node.output[0]])
    if node.op_type == "Conv":
        return places * math.prod(shapes[node.input[1]][1:])  # (out, in / groups, height, width)
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return places * shapes[node.input[0]][0 if transposed else -1]
