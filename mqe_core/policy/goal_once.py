"""A policy's graph in two parts, so that what depends on the goal alone is computed once per goal, not once per frame.

A goal stays for hundreds of frames, and where the encoder is large, half of an answer or a third of it is the goal's.
The file stays one graph: it is cut where it is opened.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

import numpy as np
import onnx

from mqe_core.policy.sessions import start_session
from mqe_core.robot.arrays import AnyArray

OBSERVATION, GOAL = "observation", "goal"
_HEAVY = {"Conv", "MatMul", "Gemm"}  # what is worth a second session
_GOALS = 8  # kept, as a server's clients may have one each
_KEPT_BYTES = 4 << 20  # of a batch of goals; larger ones are an evaluation's, whose goals do not stay
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


class PolicySession:
    """Runs a policy's graph; answers are those of the whole graph, to the rounding of float32."""

    def __init__(self, model: onnx.ModelProto, threads: int, device: str = "cpu") -> None:
        """ValueError, BundleError: as `start_session`."""
        self.outputs = [output.name for output in model.graph.output]
        self._known: OrderedDict[bytes, list[AnyArray]] = OrderedDict()
        self._lock = threading.Lock()
        self._of_goal = None
        self._handed: list[str] = []
        parts = cut_at_goal(model)
        if parts is not None:
            first, rest = parts
            of_goal = start_session(first.SerializeToString(), threads, device)
            arguments = {argument.name: argument for argument in of_goal.get_outputs()}
            if all(argument.type in _TYPES for argument in arguments.values()):
                self._of_goal, self._handed = of_goal, list(arguments)
                for name, argument in arguments.items():
                    element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(_TYPES[argument.type]))
                    rest.graph.input.append(onnx.helper.make_tensor_value_info(name, element, argument.shape))
                model = rest
        self._rest = start_session(model.SerializeToString(), threads, device)
        self._asked = {value.name for value in self._rest.get_inputs()}

    def run(self, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """The graph's outputs by name; ``goal (B, H, W, 3)`` and the graph's other inputs by name."""
        fed = {**inputs, **dict(zip(self._handed, self._goal_part(inputs[GOAL])))}
        answers = self._rest.run(self.outputs, {name: value for name, value in fed.items() if name in self._asked})
        return dict(zip(self.outputs, answers))

    def prepare(self, goal: AnyArray) -> None:
        """Compute the goal's part before the first frame asks for it; ``goal (1, H, W, 3)``."""
        self._goal_part(goal)

    def _goal_part(self, goal: AnyArray) -> list[AnyArray]:
        """What the rest reads of the goal, computed where these pictures are not among the last ones."""
        if self._of_goal is None:
            return []
        if goal.nbytes > _KEPT_BYTES:
            return list(self._of_goal.run(self._handed, {GOAL: goal}))
        key = goal.tobytes()
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
                return found
        found = list(self._of_goal.run(self._handed, {GOAL: goal}))
        with self._lock:
            self._known[key] = found
            while len(self._known) > _GOALS:
                self._known.popitem(last=False)
        return found


def cut_at_goal(model: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto] | None:
    """The part that depends on the input `goal` alone, and the rest, which lacks the inputs that the first part hands
    over. None where that part has no layer, or the graph has branches or loops.
    """

    def is_shape(node: onnx.NodeProto) -> bool:
        return node.op_type == "Shape" and list(node.input) == [OBSERVATION]

    def of_goals_shape(node: onnx.NodeProto) -> onnx.NodeProto:
        """The same of the goal, whose picture has the observation's shape: the exporter asks one for both."""
        own = onnx.NodeProto.FromString(node.SerializeToString())
        own.input[:] = [GOAL]
        return own

    graph = model.graph
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        return None
    fresh = {value.name for value in graph.input} - {GOAL} - {entry.name for entry in graph.initializer}
    of_goal, first, rest = {GOAL}, [], []
    for node in graph.node:  # in the order of computation, as ONNX asks for
        read = set() if is_shape(node) else set(node.input)
        if read & fresh:
            fresh.update(node.output)
            rest.append(node)
        elif read & of_goal:
            of_goal.update(node.output)
            first.append(node)
        else:  # of constants alone, or of the pictures' shape
            first.append(of_goals_shape(node) if is_shape(node) else node)
            rest.append(node)
    answered = {output.name for output in graph.output}
    if answered & of_goal or not any(node.op_type in _HEAVY and set(node.input) & of_goal for node in first):
        return None
    handed = sorted({name for node in rest for name in node.input} & (of_goal - {GOAL}))
    outputs = [onnx.ValueInfoProto(name=name) for name in handed]  # onnxruntime finds their types
    others = [value for value in graph.input if value.name != GOAL]
    goal = [value for value in graph.input if value.name == GOAL]
    read_later = any(GOAL in node.input for node in rest)
    return (
        _part(model, first, goal, outputs),
        _part(model, rest, [*others, *goal] if read_later else others, graph.output),
    )


def _part(
    model: onnx.ModelProto,
    nodes: list[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto],
    outputs: Iterable[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    """`nodes` with the constants that they read, as a model of its own."""
    read = {name for node in nodes for name in node.input}
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    part.graph.name = model.graph.name
    part.graph.node.extend(nodes)
    part.graph.input.extend(inputs)
    part.graph.output.extend(outputs)
    part.graph.initializer.extend(entry for entry in model.graph.initializer if entry.name in read)
    return part
