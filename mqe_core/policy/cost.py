"""What a policy's graph costs: its numbers, and the multiplications of one answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

_PRODUCTS = ("MatMul", "Gemm")
Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class GraphCost:
    """Of one answer to one observation."""

    parameters: int  # numbers that its layers read
    macs: int  # multiplications with an addition, of convolutions and matrix products
    weights: str  # float32, or float16 where large ones are kept in it


def graph_cost(model: onnx.ModelProto) -> GraphCost:
    """Counts them. What two parts of the graph compute alike counts once, as onnxruntime computes it once.

    ValueError where the shape of a convolution or a product cannot be told.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())  # the caller's stays as it is
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1  # the free batch axis
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*graph.value_info, *graph.input, *graph.output]
    }
    shapes |= {entry.name: list(entry.dims) for entry in graph.initializer}
    read = {name for node in graph.node for name in node.input}
    parameters = sum(math.prod(entry.dims) for entry in graph.initializer if entry.name in read)

    macs, first_outputs, same_as = 0, dict[tuple[object, ...], list[str]](), dict[str, str]()
    for node in graph.node:
        inputs = [same_as.get(name, name) for name in node.input]
        attributes = sorted(attribute.SerializeToString() for attribute in node.attribute)
        computation = (node.op_type, *inputs, *attributes)
        if computation in first_outputs:
            same_as |= dict(zip(node.output, first_outputs[computation]))
        else:
            first_outputs[computation] = list(node.output)
            macs += _macs(node, shapes)
    has_half = any(entry.data_type == onnx.TensorProto.FLOAT16 for entry in graph.initializer)
    return GraphCost(parameters, macs, "float16" if has_half else "float32")


def _macs(node: onnx.NodeProto, shapes: Shapes) -> int:
    if node.op_type == "Conv":
        kernel = shapes[node.input[1]]  # (out, in / groups, height, width)
        return _size(node.output[0], shapes) * math.prod(kernel[1:])
    if node.op_type in _PRODUCTS:
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        first = shapes.get(node.input[0], ())
        summed = first[0 if transposed else -1] if first else 0
        if not summed:
            raise ValueError(f"the shape of {node.input[0]} cannot be told")
        return _size(node.output[0], shapes) * summed
    return 0


def _size(name: str, shapes: Shapes) -> int:
    size = math.prod(shapes.get(name, (0,)))
    if not size:
        raise ValueError(f"the shape of {name} cannot be told")
    return size
