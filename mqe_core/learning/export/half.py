"""A graph whose weights are kept in float16: half the file, the same speed and inputs.

Each large weight is stored in float16 and cast to float32 once, when the file is opened. All arithmetic stays in
float32, on every machine, so only the rounding of the weights (a 2,000th of each) changes what the policy answers.
"""

from __future__ import annotations

import math

import numpy as np
import onnx

SMALLEST = (
    1024  # numbers of a weight; smaller ones are next to nothing of a file, and action scales and norms among them
)
_LARGEST = 65504.0  # of float16
_CAST = ".float32"  # the end of a cast weight's name


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its large float32 weights in float16. ValueError where one does not fit into it."""
    model = onnx.ModelProto.FromString(model.SerializeToString())  # the caller's stays as it is
    graph = model.graph
    cast: dict[str, str] = {}
    for entry in graph.initializer:
        if entry.data_type != onnx.TensorProto.FLOAT or math.prod(entry.dims) < SMALLEST:
            continue
        values = onnx.numpy_helper.to_array(entry)
        if not (np.abs(values) <= _LARGEST).all():
            raise ValueError(
                f"--half: the weights {entry.name} reach {np.abs(values).max():.3g}, and float16 ends at {_LARGEST:g}; "
                "export without it"
            )
        entry.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), entry.name))
        cast[entry.name] = entry.name + _CAST
    nodes = [
        onnx.helper.make_node("Cast", [name], [as_float], to=onnx.TensorProto.FLOAT) for name, as_float in cast.items()
    ]
    for node in graph.node:
        node.input[:] = [cast.get(name, name) for name in node.input]
        nodes.append(node)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return model
