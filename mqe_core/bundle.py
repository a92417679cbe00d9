"""PolicyBundle: one policy.onnx file that carries its graph and its own contract. Read, write and check it.

Inputs `observation`, `goal`: uint8 (B, H, W, 3) RGB. Outputs: `action` float32 (B, 7) in physical units (the
scale is inside the graph) and, where the agent has a critic, `steps_to_goal` float32 (B,). The contract is
JSON under one metadata key. Opening checks, in this order: the bytes against a hash, the schema, the
contract, the graph's inputs and outputs, the fit to the robot spec, and a golden check (two image pairs with
known outputs). Nothing is unpickled or evaluated; a file that fails is refused.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from mqe_core import images
from mqe_core.bundle_contract import STEPS_TOLERANCE, STEPS_TOLERANCE_FLOOR, BundleContract, BundleError
from mqe_core.golden_images import drawn_image, golden_pairs
from mqe_core.spec import RobotSpec

METADATA_KEY = "mqe_bundle"
SCHEMA = 1
_HASH_MARK = b'"content_sha256": "'
_NO_HASH = b"0" * 64


class PolicyBundle:
    """A checked policy file and its inference session; make it with `open`."""

    def __init__(
        self, path: Path, contract: BundleContract, session: onnxruntime.InferenceSession, fingerprint: str
    ) -> None:
        self.path = path
        self.contract = contract
        self.fingerprint = fingerprint  # sha256 of the file's contents, hex
        self.has_steps_to_goal = len(session.get_outputs()) == 2
        self._session = session

    @classmethod
    def open(cls, path: str | Path, spec: RobotSpec | None = None, *, threads: int = 1) -> PolicyBundle:
        """Open and check a policy file; BundleError with reason and remedy where it must not be used.

        Args:
            path: the .onnx file.
            spec: robot that it is to drive; None checks the file alone.
            threads: cores that one inference may use.
        """
        path = Path(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BundleError(f"{path}: {error.strerror}; make a policy with `mqe export RUN --out {path}`") from error
        try:
            model, metadata = _parse(data)
            contract, golden = _read_metadata(metadata)
            _check_graph(model, contract)
            if spec is not None:
                check_fit(contract, spec)
            session = _start_session(data, threads)
            bundle = cls(path, contract, session, metadata["content_sha256"])
            _check_golden(bundle, golden)
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from error.__cause__
        return bundle

    def run(self, observation: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name for uint8 (B, image_size, image_size, 3) RGB batches."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, {"observation": observation, "goal": goal})))


def write_bundle(
    model: onnx.ModelProto,
    contract: BundleContract,
    path: str | Path,
    *,
    example: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Write `model` with its contract and golden check to `path`, atomically, and open it once to prove it.

    Args:
        example: (observation, goal), each (image_size, image_size, 3) uint8, stored for the golden check;
            drawn where not given.
    """
    path = Path(path)
    model = onnx.ModelProto.FromString(model.SerializeToString())  # the caller's model stays as it is
    _check_graph(model, contract)
    if example is None:
        example = drawn_image(contract.image_size, 0), drawn_image(contract.image_size, 1)
    session = _start_session(model.SerializeToString(), threads=1)
    golden = _make_golden(PolicyBundle(path, contract, session, ""), example)
    metadata = {
        "schema": SCHEMA,
        "content_sha256": _NO_HASH.decode(),
        "contract": dataclasses.asdict(contract),
        "golden": golden,
    }
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(metadata, allow_nan=False)})
    data = model.SerializeToString()
    start = _hash_position(data)
    data = data[:start] + hashlib.sha256(data).hexdigest().encode() + data[start + 64 :]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".bundle-") as folder:
        temporary = Path(folder) / path.name
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        PolicyBundle.open(temporary)
        os.replace(temporary, path)


def _parse(data: bytes) -> tuple[onnx.ModelProto, dict]:
    """Model and metadata, once the bytes are the ones that were written."""
    remedy = "copy the file again or export it again"
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception as error:  # protobuf's DecodeError has no public name that is stable over its versions
        raise BundleError(f"no readable ONNX file ({len(data)} bytes), truncated or altered; {remedy}") from error
    entries = [entry.value for entry in model.metadata_props if entry.key == METADATA_KEY]
    if len(entries) != 1:
        raise BundleError(
            f"an ONNX file without a policy contract (metadata key {METADATA_KEY}), or an altered one; "
            "write policies with `mqe export`"
        )
    try:
        metadata = json.loads(entries[0])
        schema, stated = metadata["schema"], metadata["content_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"its contract is not readable; {remedy}") from error
    if schema != SCHEMA:
        raise BundleError(
            f"bundle schema {schema!r}, this version reads {SCHEMA}; export the run again with this version"
        )
    start = _hash_position(data)
    actual = hashlib.sha256(data[:start] + _NO_HASH + data[start + 64 :]).hexdigest()
    if actual != stated:
        raise BundleError(f"the contents changed since the export (sha256 differs); {remedy}")
    return model, metadata


def _hash_position(data: bytes) -> int:
    """Where the 64 hex digits of the hash stand in the file; they are hashed as zeros."""
    if data.count(_HASH_MARK) != 1:
        raise BundleError("expected exactly one content_sha256 in the file; export it again")
    return data.index(_HASH_MARK) + len(_HASH_MARK)


def _read_metadata(metadata: dict) -> tuple[BundleContract, dict]:
    def strict(value: object, keys: set[str], where: str, optional: set[str] = frozenset()) -> dict:
        found = set(value) if isinstance(value, dict) else set()
        if found | optional != keys:
            raise BundleError(
                f"{where}: missing {sorted(keys - found - optional)}, unknown {sorted(found - keys)}; export the run "
                "again"
            )
        return value

    metadata = strict(metadata, {"schema", "content_sha256", "contract", "golden"}, "metadata")
    # What may be unmeasured may be absent as well: bundles from before it was measured stay good.
    optional = {f.name for f in dataclasses.fields(BundleContract) if f.default is None}
    fields = strict(metadata["contract"], {f.name for f in dataclasses.fields(BundleContract)}, "contract", optional)
    golden = strict(metadata["golden"], {"observation_png", "goal_png", "expected", "tolerance"}, "golden check")
    return BundleContract(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}), golden


def _check_graph(model: onnx.ModelProto, contract: BundleContract) -> None:
    """Names, types and shapes of inputs and outputs; nothing outside the file and the standard operators."""
    size = contract.image_size
    kind = onnx.TensorProto
    expected_inputs = {"observation": (kind.UINT8, [size, size, 3]), "goal": (kind.UINT8, [size, size, 3])}
    expected_outputs = {"action": (kind.FLOAT, [7])}
    if any(value.name == "steps_to_goal" for value in model.graph.output):
        expected_outputs["steps_to_goal"] = (kind.FLOAT, [])
        if contract.discount is None:
            raise BundleError("it has the output steps_to_goal but states no discount; export the run again")
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


def check_fit(contract: BundleContract, spec: RobotSpec) -> None:
    """BundleError where the policy is for another robot or another rate."""
    if contract.robot != spec.name:
        raise BundleError(
            f"made for the robot {contract.robot!r}, not {spec.name!r}; export the run with --robot "
            f"{spec.name} if it fits"
        )
    if abs(contract.control_hz - spec.control.control_hz) > 1e-6:
        raise BundleError(
            f"its actions are steps of {1 / contract.control_hz:.3f} s ({contract.control_hz} Hz), the "
            "robot is controlled at "
            f"{spec.control.control_hz} Hz; train on data of the robot's rate"
        )


def _start_session(data: bytes, threads: int) -> onnxruntime.InferenceSession:
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Between two ticks the cores belong to others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own that share no public base
        raise BundleError(f"onnxruntime cannot run its graph: {error}; export it again with this version") from error


def _make_golden(bundle: PolicyBundle, example: tuple[np.ndarray, np.ndarray]) -> dict:
    size, contract = bundle.contract.image_size, bundle.contract
    for image in example:
        if image.shape != (size, size, 3) or image.dtype != np.uint8:
            raise ValueError(f"expected example images ({size}, {size}, 3) uint8, got {image.shape} {image.dtype}")
    outputs = bundle.run(*golden_pairs(size, example))
    if not all(np.isfinite(values).all() for values in outputs.values()):
        raise BundleError("the policy answers NaN or infinity to the golden images; train it again")
    tolerance = {"action": contract.action_tolerance.tolist()}
    if "steps_to_goal" in outputs:
        tolerance["steps_to_goal"] = np.maximum(
            STEPS_TOLERANCE * np.abs(outputs["steps_to_goal"]), STEPS_TOLERANCE_FLOOR
        ).tolist()
    encoded = [base64.b64encode(images.encode_png(image)).decode() for image in example]
    expected = {name: values.tolist() for name, values in outputs.items()}
    return {
        "observation_png": encoded[0],
        "goal_png": encoded[1],
        "expected": expected,
        "tolerance": tolerance,
    }


def _check_golden(bundle: PolicyBundle, golden: dict) -> None:
    try:
        example = tuple(
            images.decode(base64.b64decode(golden[key], validate=True)) for key in ("observation_png", "goal_png")
        )
        outputs = bundle.run(*golden_pairs(bundle.contract.image_size, example))
        if set(golden["expected"]) != set(outputs) or set(golden["tolerance"]) != set(outputs):
            raise ValueError("other outputs than the graph's")
        errors = {
            k: np.abs(outputs[k] - np.array(golden["expected"][k])) / np.array(golden["tolerance"][k]) for k in outputs
        }
    except (ValueError, TypeError, KeyError) as error:
        raise BundleError(f"its golden check is not usable ({error}); export the run again") from error
    for name, error in errors.items():
        if not (error <= 1.0).all():
            raise BundleError(
                f"golden check failed: {name} is {error.max():.3g} times its tolerance away from what it "
                "was at export; "
                f"this machine's onnxruntime {onnxruntime.__version__} computes something else: install the "
                "pinned version"
            )
