"""A bundle carries its contract, answers what its graph says, and is refused with the reason when it must not
be used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mqe_core.cli import main
from mqe_core.policy.bundle import PolicyBundle, write_bundle
from mqe_core.policy.contract import BundleContract, BundleError
from mqe_core.policy.golden_images import counter_image
from mqe_core.robot.spec import RobotSpec
from tests.policy.rewritten import rewrite, set_metadata


@pytest.fixture(scope="module")
def bundle_file(make_bundle: Callable[..., Path]) -> Path:
    return make_bundle()


def images(seed: int, count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_contract_and_outputs_survive_the_file(bundle_file: Path, spec: RobotSpec) -> None:
    bundle = PolicyBundle.open(bundle_file, spec)
    assert bundle.contract.domain == "sim" and bundle.contract.metrics == {"loss": 0.5}
    assert bundle.contract.action_high == (0.05, 0.05, 0.05, 0.25, 0.25, 0.25, 1.0)
    for count in (1, 5):
        observation, goal = images(0, count), images(1, count)
        outputs = bundle.run(observation, goal)
        red = observation[..., 0].mean((1, 2), dtype=np.float64)
        constant = np.array([0.01, 0, 0, 0, 0, 0, 1])
        np.testing.assert_allclose(outputs["action"], constant + 1e-3 * red[:, None] / 255, atol=1e-6)
        distance = np.abs(observation.mean((1, 2), dtype=np.float64) - goal.mean((1, 2), dtype=np.float64)).sum(1)
        np.testing.assert_allclose(outputs["steps_to_goal"], distance, rtol=1e-3)


def test_a_policy_without_a_critic_has_no_steps_to_goal(make_bundle: Callable[..., Path]) -> None:
    bundle = PolicyBundle.open(make_bundle(with_steps=False))
    assert not bundle.has_steps_to_goal and set(bundle.run(images(0, 1), images(1, 1))) == {"action"}


def test_the_same_inputs_give_the_same_file(make_bundle: Callable[..., Path]) -> None:
    assert make_bundle().read_bytes() == make_bundle().read_bytes()


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_file_is_refused(bundle_file: Path, tmp_path: Path, fraction: float) -> None:
    data = bundle_file.read_bytes()
    cut = tmp_path / "policy.onnx"
    cut.write_bytes(data[: int(fraction * len(data))])
    with pytest.raises(BundleError, match="policy.onnx.*(export|copy)"):
        PolicyBundle.open(cut)


def test_every_altered_byte_is_refused(bundle_file: Path, tmp_path: Path) -> None:
    data = bundle_file.read_bytes()
    rng = np.random.default_rng(0)
    altered = tmp_path / "policy.onnx"
    for position in rng.choice(len(data), 400, replace=False):
        changed = bytearray(data)
        changed[position] ^= int(rng.integers(1, 256))
        altered.write_bytes(bytes(changed))
        with pytest.raises(BundleError):
            PolicyBundle.open(altered)


def test_bytes_appended_are_refused(bundle_file: Path, tmp_path: Path) -> None:
    longer = tmp_path / "policy.onnx"
    longer.write_bytes(bundle_file.read_bytes() + b"\x00")
    with pytest.raises(BundleError):
        PolicyBundle.open(longer)


def test_missing_file_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="mqe export"):
        PolicyBundle.open(tmp_path / "none.onnx")


def test_plain_onnx_file_is_refused(bundle_file: Path, tmp_path: Path) -> None:
    model = onnx.load(bundle_file)
    del model.metadata_props[:]
    plain = tmp_path / "plain.onnx"
    onnx.save(model, plain)
    with pytest.raises(BundleError, match="without a policy contract"):
        PolicyBundle.open(plain)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_metadata("schema", value=3), "schema 3, this version reads 1 and 2"),
        (set_metadata("schema", value=True), "schema True, this version reads 1 and 2"),
        (set_metadata("schema", value=2), "missing .'answer_actions', 'candidates', 'choice_margin', 'flow_steps'"),
        (set_metadata("contract", "candidates", value=8), "unknown .'candidates'"),
        (set_metadata("contract", "surprise", value=1), "unknown .'surprise'"),
        (lambda _, metadata: metadata["contract"].pop("domain"), "missing .'domain'"),
        (set_metadata("contract", "domain", value="dream"), "domain: expected 'sim' or 'real'"),
        (set_metadata("contract", "control_hz", value=-5.0), "control_hz"),
        (set_metadata("contract", "control_hz", value=True), "control_hz"),
        (set_metadata("contract", "image_size", value=48), r"inputs are .*expected"),
        (
            set_metadata("contract", "action_names", value=["dy", "dx", "dz", "droll", "dpitch", "dyaw", "gripper"]),
            "action_names",
        ),
        (set_metadata("contract", "action_frame", value="tool"), "action_frame"),
        (set_metadata("contract", "action_low", value=[0.0] * 6), "action_low"),
        (set_metadata("contract", "resize_rule", value="crop"), "resize_rule"),
        (set_metadata("contract", "discount", value=None), "no discount"),
        (set_metadata("golden", "observation_png", value="not base64 !"), "golden check is not usable"),
        (set_metadata("golden", "expected", "action", value=[[0.0] * 7] * 2), "golden check failed: action"),
    ],
)
def test_forged_metadata_is_refused(bundle_file: Path, tmp_path: Path, change: Callable, reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        PolicyBundle.open(rewrite(bundle_file, tmp_path / "forged.onnx", change))


def test_an_unchanged_rewrite_is_accepted(bundle_file: Path, tmp_path: Path) -> None:
    """The refusals above are due to their change, not to the rewriting."""
    PolicyBundle.open(rewrite(bundle_file, tmp_path / "same.onnx", lambda model, metadata: None))


def test_other_weights_fail_the_golden_check(bundle_file: Path, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto, _: dict) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == "constant")
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(0.001), "constant"))

    with pytest.raises(BundleError, match="golden check failed: action"):
        PolicyBundle.open(rewrite(bundle_file, tmp_path / "other.onnx", change))


def test_foreign_operators_are_refused(bundle_file: Path, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto, _: dict) -> None:
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))

    with pytest.raises(BundleError, match="com.microsoft"):
        PolicyBundle.open(rewrite(bundle_file, tmp_path / "foreign.onnx", change))


def test_weights_in_another_file_are_refused(bundle_file: Path, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto, _: dict) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == "weight")
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")

    with pytest.raises(BundleError, match="another file"):
        PolicyBundle.open(rewrite(bundle_file, tmp_path / "external.onnx", change))


def test_policy_of_another_rate_or_robot_does_not_fit(make_bundle: Callable[..., Path], spec: RobotSpec) -> None:
    ten_hz = make_bundle(control_hz=10.0)
    PolicyBundle.open(ten_hz)  # alone it is a good file
    with pytest.raises(BundleError, match="10.0 Hz.*5.0 Hz"):
        PolicyBundle.open(ten_hz, spec)
    with pytest.raises(BundleError, match="viperx"):
        PolicyBundle.open(make_bundle(robot="viperx300s"), spec)


def test_a_graph_that_answers_nan_is_not_written(bundle_file: Path, tmp_path: Path) -> None:
    model, contract = onnx.load(bundle_file), PolicyBundle.open(bundle_file).contract
    tensor = next(t for t in model.graph.initializer if t.name == "constant")
    tensor.CopyFrom(numpy_helper.from_array(np.full(7, np.nan, dtype=np.float32), "constant"))
    with pytest.raises(BundleError, match="NaN"):
        write_bundle(model, contract, tmp_path / "nan.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(bundle_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "policy.onnx"
    target.write_bytes(bundle_file.read_bytes())
    contract = dataclasses.replace(PolicyBundle.open(bundle_file).contract, image_size=48)
    with pytest.raises(BundleError):
        write_bundle(onnx.load(bundle_file), contract, target)
    assert target.read_bytes() == bundle_file.read_bytes() and list(tmp_path.iterdir()) == [target]


def test_contract_rejects_what_the_robot_does_not_apply() -> None:
    good = dict(
        robot="r",
        agent="a",
        domain="sim",
        image_size=64,
        control_hz=5.0,
        action_low=(-1.0,) * 7,
        action_high=(1.0,) * 7,
        discount=None,
        data_fingerprint="f",
        commit="c",
    )
    BundleContract(**good)
    for key, value in {
        "action_high": (-1.0,) * 7,
        "metrics": {"x": float("nan")},
        "gripper_steps": 0,
        "commit": "",
        "unreachable_steps": -1.0,
        "domain": None,
    }.items():
        with pytest.raises(BundleError, match=key.replace("action_high", "action_low")):
            BundleContract(**{**good, key: value})


def test_counter_image_is_the_hash_of_its_definition() -> None:
    image = counter_image(8, 3)
    first = hashlib.blake2b(b"mqe golden image 3 block 0").digest()
    assert image.shape == (8, 8, 3) and image.tobytes()[:64] == first
    assert not np.array_equal(image, counter_image(8, 4))


def test_inspect_shows_the_contract_and_refuses_what_the_robot_would(bundle_file: Path, tmp_path: Path, capsys) -> None:
    assert main(["inspect", str(bundle_file), "--robot", "widowx250s", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (
        report["domain"] == "sim"
        and report["outputs"] == ["action", "steps_to_goal"]
        and len(report["fingerprint"]) == 64
    )
    assert main(["inspect", str(bundle_file)]) == 0
    assert "all checks passed" in capsys.readouterr().out
    broken = tmp_path / "policy.onnx"
    broken.write_bytes(bundle_file.read_bytes()[:-1])
    assert main(["inspect", str(broken)]) == 1
    assert capsys.readouterr().err.startswith(f"mqe inspect: {broken}: ")


def test_what_is_no_file_or_too_large_is_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    with (tmp_path / "sparse.onnx").open("wb") as file:
        file.truncate(2**31)
    for path, reason in (
        (tmp_path / "pipe.onnx", "a pipe"),
        (Path("/dev/zero"), "a device"),
        (tmp_path, "a folder"),
        (tmp_path / "sparse.onnx", "2147483648 bytes"),
    ):
        with pytest.raises(BundleError, match=f"{path}: {reason}.*make a policy with"):
            PolicyBundle.open(path)
