"""Promise: a policy that chooses states how, its graph does so, and what it cannot state is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from mqe_core.policy.bundle import METADATA_KEY, PolicyBundle, write_bundle
from mqe_core.policy.contract import BundleError
from mqe_core.robot.spec import RobotSpec
from tests.policy.rewritten import rewrite, set_metadata


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("candidates", 0, "candidates: expected an integer from 1 to 64"),
        ("candidates", 65, "candidates: expected an integer from 1 to 64"),
        ("candidates", 4.0, "candidates: expected an integer from 1 to 64"),
        ("candidates", 5, "outputs are"),  # the graph has four
        ("candidates", 1, "inputs are"),
        ("candidates", None, "candidates: expected an integer"),
        ("flow_steps", 0, "flow_steps: expected an integer from 1 to 10"),
        ("flow_steps", 11, "flow_steps: expected an integer from 1 to 10"),
        ("flow_steps", True, "flow_steps: expected an integer from 1 to 10"),
        ("choice_margin", -0.1, "choice_margin: expected a number from 0"),
        ("choice_margin", None, "choice_margin: expected a number from 0"),
        ("answer_actions", 4, "answer_actions: expected 1: this version runs one action of an answer"),
        ("proposal_steps", 0, "proposal_steps: expected a positive integer or null"),
        ("proposal_steps", 2.5, "proposal_steps: expected a positive integer or null"),
        ("discount", None, "discount: expected a number: its critic chooses"),
    ],
)
def test_what_a_choosing_policy_cannot_state_is_refused(
    choosing_bundle: Path, tmp_path: Path, key: str, value: object, reason: str
) -> None:
    PolicyBundle.open(rewrite(choosing_bundle, tmp_path / "same.onnx", lambda model, metadata: None))
    with pytest.raises(BundleError, match=reason):
        PolicyBundle.open(
            rewrite(choosing_bundle, tmp_path / "forged.onnx", set_metadata("contract", key, value=value))
        )


def test_a_policy_of_one_answer_proposes_nothing(make_bundle: Callable[..., Path]) -> None:
    with pytest.raises(BundleError, match="proposal_steps: expected null: there are no candidates, got 10"):
        make_bundle(proposal_steps=10)


def test_a_choosing_policy_that_states_nothing_of_it_is_refused(choosing_bundle: Path, tmp_path: Path) -> None:
    def change(_: onnx.ModelProto, metadata: dict) -> None:
        metadata["contract"] |= dict.fromkeys(("candidates", "flow_steps", "choice_margin", "answer_actions"))

    with pytest.raises(BundleError, match="does not say how it chooses"):
        PolicyBundle.open(rewrite(choosing_bundle, tmp_path / "silent.onnx", change))


def test_a_graph_that_does_not_take_the_nearest_is_not_written(choosing_bundle: Path, tmp_path: Path) -> None:
    model, contract = onnx.load(choosing_bundle), PolicyBundle.open(choosing_bundle).contract
    next(node for node in model.graph.node if node.op_type == "ArgMin").op_type = "ArgMax"
    with pytest.raises(BundleError, match="not the candidate that is nearest"):
        write_bundle(model, contract, tmp_path / "far.onnx")


def test_a_policy_of_one_answer_is_written_as_before(make_bundle: Callable[..., Path], choosing_bundle: Path) -> None:
    """Earlier versions read it: none of the new keys, and schema 1."""
    stated = [
        json.loads(next(entry.value for entry in onnx.load(file).metadata_props if entry.key == METADATA_KEY))
        for file in (make_bundle(), choosing_bundle)
    ]
    assert [one["schema"] for one in stated] == [1, 2]
    new = {"candidates", "flow_steps", "choice_margin", "answer_actions"}
    assert not new & stated[0]["contract"].keys() and new <= stated[1]["contract"].keys()


def test_a_choosing_policy_of_another_rate_does_not_fit(choosing_bundle: Path, tmp_path: Path, spec: RobotSpec) -> None:
    PolicyBundle.open(choosing_bundle, spec)
    ten_hz = rewrite(choosing_bundle, tmp_path / "fast.onnx", set_metadata("contract", "control_hz", value=10.0))
    with pytest.raises(BundleError, match="10.0 Hz.*5.0 Hz"):
        PolicyBundle.open(ten_hz, spec)
