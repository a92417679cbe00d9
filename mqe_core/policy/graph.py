"""What the graph of a policy bundle takes and answers, and of what it may be made.

Inputs: `observation`, `goal`, uint8 (B, S, S, 3). Outputs: `action` float32 (B, 7), and where there is a critic
`steps_to_goal` float32 (B,). Where the critic chooses among N candidates, also the input `last`, int64 (B,), the index
chosen last (-1: none), and the outputs `chosen` int64 (B,), `candidates` float32 (B, N, 7), one of which is the action,
and `distances` float32 (B, N), control steps from each candidate to the goal.
"""

from __future__ import annotations

import onnx

from mqe_core.policy.contract import BundleContract, BundleError


def check_graph(model: onnx.ModelProto, contract: BundleContract) -> None:
    """Names, types and shapes of inputs and outputs; nothing outside the file and the standard operators."""
    size = contract.image_size
    kind = onnx.TensorProto
    expected_inputs = {"observation": (kind.UINT8, [size, size, 3]), "goal": (kind.UINT8, [size, size, 3])}
    expected_outputs = {"action": (kind.FLOAT, [7])}
    if any(value.name == "steps_to_goal" for value in model.graph.output):
        expected_outputs["steps_to_goal"] = (kind.FLOAT, [])
        if contract.discount is None:
            raise BundleError("it has the output steps_to_goal but states no discount; export the run again")
    if contract.candidates is not None and contract.chooses:
        expected_inputs["last"] = (kind.INT64, [])
        expected_outputs |= {
            "steps_to_goal": (kind.FLOAT, []),
            "chosen": (kind.INT64, []),
            "candidates": (kind.FLOAT, [contract.candidates, 7]),
            "distances": (kind.FLOAT, [contract.candidates]),
        }
    for what, values, expected in (
        ("input", model.graph.input, expected_inputs),
        ("output", model.graph.output, expected_outputs),
    ):
        found = {}
        for value in values:
            shape = value.type.tensor_type.shape.dim
            fixed = [dim.dim_value for dim in shape[1:]]
            batch_is_free = len(shape) > 0 and not shape[0].HasField("dim_value")
            found[value.name] = (
                (value.type.tensor_type.elem_type, fixed) if batch_is_free else f"fixed batch {list(shape)}"
            )
        if found != expected:
            raise BundleError(
                f"its {what}s are {found}, expected {expected} with a free batch axis in front; export the run again"
            )
    foreign = {entry.domain for entry in model.opset_import} - {"", "ai.onnx"}
    if foreign:
        raise BundleError(
            f"it needs the operator sets {sorted(foreign)}; only standard ONNX operators are run on a robot"
        )
    if any(tensor.data_location == kind.EXTERNAL for tensor in model.graph.initializer):
        raise BundleError("its weights are in another file; export it as one file")
