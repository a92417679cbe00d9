"""What a policy costs is counted alike in its run and in its graph, and a file in float16 answers as the run does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from mqe_core.cli import main
from mqe_core.learning.export.export import export_run
from mqe_core.learning.export.half import halved
from mqe_core.learning.rows.frozen_encoder import encoder_of_bundle
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.run_cost import run_cost
from mqe_core.learning.run.train import train
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.cost import graph_cost
from mqe_core.policy.golden_images import counter_image

Config = Callable[..., RunConfig]


def product(weight: np.ndarray, copies: int = 1) -> onnx.ModelProto:
    """A graph of a convolution and `copies` of one matrix product behind it."""
    helper, kind = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["y"], strides=[2, 2]),
        helper.make_node("Flatten", ["y"], ["flat"]),
        *(helper.make_node("MatMul", ["flat", "weight"], [f"out{number}"]) for number in range(copies)),
    ]
    outputs = [helper.make_tensor_value_info(f"out{number}", kind.FLOAT, ["batch", 5]) for number in range(copies)]
    kernel = np.ones((2, 3, 2, 2), np.float32)
    initializers = [onnx.numpy_helper.from_array(v, n) for n, v in (("kernel", kernel), ("weight", weight))]
    inputs = [helper.make_tensor_value_info("x", kind.FLOAT, ["batch", 3, 4, 4])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])


@pytest.mark.parametrize("copies", [1, 2])
def test_convolutions_and_products_are_counted(copies: int) -> None:
    cost = graph_cost(product(np.ones((8, 5), np.float32), copies))
    assert cost.parameters == 2 * 3 * 4 + 8 * 5
    assert cost.macs == 2 * 2 * 2 * (3 * 4) + copies * 8 * 5  # places × channels × what one of them sums; products
    assert cost.weights == "float32"


@pytest.mark.parametrize("agent", ["gcbc", "mqe"])
def test_run_and_graph_agree(
    synthetic_store: Path,
    tmp_path: Path,
    tiny_config: Config,
    agent: str,
    spec,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, bundle = tmp_path / "run", tmp_path / "policy.onnx"
    train(synthetic_store, run, tiny_config(agent=agent), progress=False)
    export_run(run, bundle, spec)
    of_run, of_graph = run_cost(run)[0], graph_cost(onnx.load(bundle))
    assert of_graph.macs == pytest.approx(of_run.macs, rel=0.02)  # the graph leaves out what an answer does not need
    assert of_run.encoder_parameters < of_run.parameters
    # MQE answers without phi.
    assert of_run.encoder_parameters < of_graph.parameters < 1.02 * of_run.parameters

    for path, keys in ((run, {"latency_slowest_ms", "encoder_parameters"}), (bundle, {"weights", "fingerprint"})):
        assert main(["inspect", str(path), "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert keys | {"parameters", "macs", "latency_p50_ms"} <= said.keys() and said["latency_p50_ms"] > 0
        assert main(["inspect", str(path)]) == 0
        assert str(said["macs"]) in capsys.readouterr().out


def test_a_run_on_states_costs_its_networks(synthetic_store: Path, tmp_path: Path, tiny_config: Config) -> None:
    train(synthetic_store, tmp_path / "run", tiny_config(observation="state"), progress=False)
    cost = run_cost(tmp_path / "run")[0]
    assert cost.encoder_parameters == 0 and 0 < cost.macs < cost.parameters


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path)]) != 0
    assert "is not a run folder" in capsys.readouterr().err


def test_half_is_half_and_answers_alike(
    writable_store: Path, tmp_path: Path, tiny_config: Config, encoder_run: Path, spec
) -> None:
    """Its parity is stated; and others learn on its encoder, whose weights are the rounded ones."""
    run = tmp_path / "run"
    train(writable_store, run, tiny_config(features_of=str(encoder_run), hidden_dims=[64, 64]), progress=False)
    whole, half = (export_run(run, tmp_path / f"{flag}.onnx", spec, half=flag) for flag in (False, True))
    sizes = [path.stat().st_size for path in (whole.path, half.path)]
    assert sizes[1] < 0.6 * sizes[0]
    for bundle in (whole, half):
        assert {"parity/action", "parity/steps_to_goal"} <= bundle.contract.metrics.keys()
        assert 0.0 <= bundle.contract.metrics["parity/action"] <= 1.0
    assert half.contract.metrics["parity/action"] > whole.contract.metrics["parity/action"]
    pair = [np.stack([counter_image(32, 10 * number + k) for k in range(3)]) for number in (1, 2)]
    answers = [PolicyBundle.open(bundle.path).run(*pair) for bundle in (whole, half)]
    assert not np.array_equal(answers[0]["action"], answers[1]["action"])
    assert (np.abs(answers[0]["action"] - answers[1]["action"]) <= 2 * whole.contract.action_tolerance).all()
    encoders = [encoder_of_bundle(bundle.path).encoder.state_dict() for bundle in (whole, half)]
    for name, weights in encoders[0].items():
        np.testing.assert_allclose(encoders[1][name], weights, rtol=1e-3, atol=1e-6)
    assert graph_cost(onnx.load(half.path)).weights == "float16"


def test_weights_beyond_float16_are_refused() -> None:
    with pytest.raises(ValueError, match="--half: the weights weight reach 7e"):
        halved(product(np.full((8, 500), 7e4, np.float32)))
