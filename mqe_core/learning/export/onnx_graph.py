"""A policy as an ONNX graph, from camera bytes to physical actions."""

from __future__ import annotations

import hashlib
import logging
import math
import warnings
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from mqe_core.learning.networks.actor import Agent, PolicyModule
from mqe_core.policy.contract import NONE_CHOSEN
from mqe_core.policy.golden_images import counter_image

OPSET = 18
INPUTS = ["observation", "goal", "last"]  # the last one, and the outputs from the third on, where the critic chooses
_MOST_SHARED = 1024  # numbers: the exporter compares no larger parameters
OUTPUTS = ["action", "steps_to_goal", "chosen", "candidates", "distances"]

logger = logging.getLogger(__name__)


class DeployedPolicy(nn.Module):
    """The agent's policy with the action scale inside: `(B, S, S, 3) uint8` twice → `action (B, 7)` physical,
    `steps_to_goal (B,)`.
    """

    policy: PolicyModule
    middle: Tensor
    half_range: Tensor

    def __init__(self, policy: PolicyModule, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.policy = policy
        self.register_buffer("middle", (low + high) / 2)
        self.register_buffer("half_range", (high - low) / 2)

    def forward(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, ...]:
        action, steps_to_goal = self.policy(observation, goal)
        action = self.middle + self.half_range * action
        return (action,) if steps_to_goal is None else (action, steps_to_goal)


class DeployedChoice(DeployedPolicy):
    """The same of a policy whose critic chooses: also takes `last (B,) int64`, and answers `chosen (B,)`, `candidates
    (B, N, 7)` physical and `distances (B, N)` as well.
    """

    def forward(self, observation: Tensor, goal: Tensor, last: Tensor | None = None) -> tuple[Tensor, ...]:
        choice = self.policy.choose(observation, goal, last)
        candidates = self.middle + self.half_range * choice.candidates
        action = candidates.gather(1, choice.chosen[:, None, None].expand(-1, 1, candidates.shape[-1]))[:, 0]
        return action, choice.steps_to_goal, choice.chosen, candidates, choice.distances


def deployed_policy(agent: Agent, low: Tensor, high: Tensor) -> DeployedPolicy:
    """What is exported of an agent, in evaluation mode; `low` and `high` (7,) are its action scale."""
    form = DeployedChoice if agent.candidates > 1 else DeployedPolicy
    return form(agent.policy_module(), low, high).eval()


def to_onnx(module: DeployedPolicy, size: int) -> onnx.ModelProto:
    """The module as an ONNX graph with a free batch axis, without the paths and traces that the exporter
    leaves in it.
    """
    # Two tensors: given one object twice, the exporter takes observation and goal for the same input.
    example = tuple(
        torch.from_numpy(counter_image(size, number).copy()).expand(2, -1, -1, -1).clone() for number in range(2)
    )
    inputs = INPUTS[:2]
    if isinstance(module, DeployedChoice):
        example, inputs = (*example, torch.full((2,), NONE_CHOSEN)), INPUTS
    with torch.no_grad():
        names = OUTPUTS[: len(module(*example))]
    batch = torch.export.Dim("batch", min=1, max=4096)
    chatty = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnx_ir", "onnxscript")}
    for name in chatty:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside torch
            program = torch.onnx.export(
                module,
                example,
                input_names=inputs,
                output_names=names,
                dynamic_shapes=tuple({0: batch} for _ in inputs),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        for name, level in chatty.items():
            logging.getLogger(name).setLevel(level)
    assert program is not None, "with dynamo the exporter returns its program"
    model = program.model_proto
    model.doc_string = ""
    graph = model.graph
    _compute_once(graph)
    _give_twins_their_names(graph, module)
    del graph.value_info[:], graph.metadata_props[:]
    parts: list[Any] = [*graph.node, *graph.input, *graph.output, *graph.initializer]
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    return model


def _compute_once(graph: onnx.GraphProto) -> None:
    """Leave out what the graph computes a second time: a picture through the encoder that critic and policy share.

    onnxruntime finds only a part of that by itself.
    """
    first: dict[tuple[object, ...], list[str]] = {}
    same_as: dict[str, str] = {}
    constants: dict[tuple[object, ...], str] = {}
    for entry in graph.initializer:
        value = entry.data_type, tuple(entry.dims), hashlib.sha256(onnx.numpy_helper.to_array(entry).tobytes()).digest()
        same_as[entry.name] = constants.setdefault(value, entry.name)
    answers, kept = {output.name for output in graph.output}, []
    for node in graph.node:
        node.input[:] = [same_as.get(name, name) for name in node.input]
        attributes = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
        computation = (node.op_type, *node.input, *attributes)
        if computation in first and not answers & set(node.output):
            same_as |= dict(zip(node.output, first[computation]))
        else:
            first.setdefault(computation, list(node.output))
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(kept)
    read = {name for node in kept for name in node.input}
    needed = [entry for entry in graph.initializer if entry.name in read]
    del graph.initializer[:]
    graph.initializer.extend(needed)


def _give_twins_their_names(graph: onnx.GraphProto, module: nn.Module) -> None:
    """Equal weights stand in the graph once, under one of their names: a policy and its critic standardise features
    alike, and the two norms that a residual block adds learn one bias. Each gets its own name again, as
    `encoder_of_bundle` and `begin_policy.py` look for it.
    """
    found = {entry.name for entry in graph.initializer}
    small = [entry for entry in graph.initializer if math.prod(entry.dims) <= _MOST_SHARED]
    by_value = {(tuple(entry.dims), onnx.numpy_helper.to_array(entry).tobytes()): entry for entry in small}
    for name, weights in (*module.named_parameters(), *module.named_buffers()):
        if name in found or weights.numel() > _MOST_SHARED:
            continue
        value = weights.detach().numpy()
        twin = by_value.get((value.shape, value.tobytes()))
        if twin is not None:
            copied = graph.initializer.add()
            copied.CopyFrom(twin)
            copied.name = name
