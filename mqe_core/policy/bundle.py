"""PolicyBundle: one policy.onnx file that carries its graph and its own contract. Read, write and check it.

Inputs `observation`, `goal`: uint8 (B, H, W, 3) RGB. Outputs: `action` float32 (B, 7) in physical units (the scale is
inside the graph) and, where the agent has a critic, `steps_to_goal` float32 (B,). A policy whose critic chooses has
more of both, see `graph.py`. The contract is JSON under one metadata key.

Opening checks, in this order: the bytes against a hash, the schema, the contract, the graph's inputs and outputs, the
fit to the robot spec, and the golden check (two image pairs with known outputs). Nothing is unpickled or evaluated. A
file that fails is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Set
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from mqe_core.files.bounded import read_bounded
from mqe_core.files.disk import write_atomically, writing
from mqe_core.files.kinds import BUNDLE_BYTES
from mqe_core.policy.contract import CHOICE_KEYS, NONE_CHOSEN, BundleContract, BundleError
from mqe_core.policy.goal_once import PolicySession
from mqe_core.policy.golden_check import check_golden, make_golden
from mqe_core.policy.golden_images import drawn_image
from mqe_core.policy.graph import check_graph
from mqe_core.robot.arrays import AnyArray, Images, Ints
from mqe_core.robot.spec import RobotSpec

METADATA_KEY = "mqe_bundle"
SCHEMA, CHOICE_SCHEMA = 1, 2  # the second is of policies that state how they choose; the first has none of those keys
_HASH_MARK = b'"content_sha256": "'
_NO_HASH = b"0" * 64


class PolicyBundle:
    """A checked policy file and its inference session; make it with `open`."""

    def __init__(self, path: Path, contract: BundleContract, session: PolicySession, fingerprint: str) -> None:
        self.path = path
        self.contract = contract
        self.fingerprint = fingerprint  # sha256 of the file's contents, hex
        self.outputs = session.outputs
        self.has_steps_to_goal = "steps_to_goal" in self.outputs
        self._session = session

    @classmethod
    def open(
        cls, path: str | Path, spec: RobotSpec | None = None, *, threads: int = 1, device: str = "cpu"
    ) -> PolicyBundle:
        """Open and check a policy file; BundleError with reason and remedy where it must not be used.

        Args:
            path: the .onnx file.
            spec: robot that it is to drive; None checks the file alone.
            threads: cores that one inference may use.
            device: "cpu", or "cuda" for the first GPU, see `sessions.py`.
        """
        path = Path(path)
        try:
            data = read_bounded(path, BUNDLE_BYTES)
        except ValueError as error:
            raise BundleError(f"{error}; make a policy with `mqe export RUN --out FILE.onnx`") from error
        except OSError as error:
            raise BundleError(f"{path}: {error.strerror}; make a policy with `mqe export RUN --out {path}`") from error
        try:
            model, metadata = _parse(data)
            contract, golden = _read_metadata(metadata)
            check_graph(model, contract)
            if spec is not None:
                check_fit(contract, spec)
            session = PolicySession(model, threads, device)
            bundle = cls(path, contract, session, metadata["content_sha256"])
            check_golden(bundle.run, contract, golden)
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from error.__cause__
        return bundle

    @property
    def schema(self) -> int:
        """Of the file."""
        return _schema_of(self.contract)

    def run(self, observation: Images, goal: Images, last: Ints | None = None) -> dict[str, AnyArray]:
        """Outputs by name for uint8 (B, image_size, image_size, 3) RGB batches; ``last (B,)`` int64: the index that was
        chosen last, for a policy that chooses, NONE_CHOSEN where not given.
        """
        inputs: dict[str, AnyArray] = {"observation": observation, "goal": goal}
        if self.contract.chooses:
            inputs["last"] = np.full(len(observation), NONE_CHOSEN, np.int64) if last is None else last
        return self._session.run(inputs)

    def prepare(self, goal: Images) -> None:
        """Compute what depends on the goal alone; (1, image_size, image_size, 3) uint8 RGB."""
        self._session.prepare(goal)


def write_bundle(
    model: onnx.ModelProto,
    contract: BundleContract,
    path: str | Path,
    *,
    example: tuple[Images, Images] | None = None,
) -> None:
    """Write `model` with its contract and golden check to `path`, atomically, and open it once to prove it.

    Args:
        example: (observation, goal), each (image_size, image_size, 3) uint8, stored for the golden check;
            drawn where not given.
    """
    path = Path(path)
    model = onnx.ModelProto.FromString(model.SerializeToString())  # the caller's model stays as it is
    check_graph(model, contract)
    if example is None:
        example = drawn_image(contract.image_size, 0), drawn_image(contract.image_size, 1)
    session = PolicySession(model, threads=1)
    golden = make_golden(PolicyBundle(path, contract, session, "").run, contract, example)
    metadata = {
        "schema": _schema_of(contract),
        "content_sha256": _NO_HASH.decode(),
        "contract": contract.stated(),
        "golden": golden,
    }
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(metadata, allow_nan=False)})
    data = model.SerializeToString()
    start = _hash_position(data)
    data = data[:start] + hashlib.sha256(data).hexdigest().encode() + data[start + 64 :]
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".bundle-") as folder:
            temporary = Path(folder) / path.name
            write_atomically(temporary, data)
            PolicyBundle.open(temporary)
            os.replace(temporary, path)


def _parse(data: bytes) -> tuple[onnx.ModelProto, dict[str, Any]]:
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
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"its contract is not readable; {remedy}") from error
    if type(schema) is not int or schema not in (SCHEMA, CHOICE_SCHEMA):
        known = f"{SCHEMA} and {CHOICE_SCHEMA}"
        raise BundleError(
            f"bundle schema {schema!r}, this version reads {known}; export the run again with this version"
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


def _read_metadata(metadata: dict[str, Any]) -> tuple[BundleContract, dict[str, Any]]:
    """The contract and the golden check. BundleError where a key is missing, unknown or wrong."""

    def strict(value: Any, keys: set[str], where: str, optional: Set[str] = frozenset()) -> dict[str, Any]:
        content: dict[str, Any] = value if isinstance(value, dict) else {}
        found = set(content)
        if found | optional != keys:
            raise BundleError(
                f"{where}: missing {sorted(keys - found - optional)}, unknown {sorted(found - keys)}; export the run "
                "again"
            )
        return content

    metadata = strict(metadata, {"schema", "content_sha256", "contract", "golden"}, "metadata")
    # What may be unmeasured may be absent as well: bundles from before it was measured stay good.
    optional = {f.name for f in dataclasses.fields(BundleContract) if f.default is None} - set(CHOICE_KEYS)
    keys = {f.name for f in dataclasses.fields(BundleContract)}
    if metadata["schema"] == SCHEMA:
        keys -= set(CHOICE_KEYS)
    fields = strict(metadata["contract"], keys, "contract", optional)
    golden = strict(metadata["golden"], {"observation_png", "goal_png", "expected", "tolerance"}, "golden check")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    contract = BundleContract(**values)
    if _schema_of(contract) != metadata["schema"]:
        raise BundleError(f"its contract does not say how it chooses, as schema {CHOICE_SCHEMA} does; export it again")
    return contract, golden


def _schema_of(contract: BundleContract) -> int:
    return SCHEMA if contract.candidates is None else CHOICE_SCHEMA


def check_fit(contract: BundleContract, spec: RobotSpec) -> None:
    """BundleError where the policy is for another robot or another rate."""
    if contract.robot != spec.name:
        raise BundleError(
            f"made for the robot {contract.robot!r}, not {spec.name!r}; export the run with --robot "
            f"{spec.name} if it fits"
        )
    if abs(contract.control_hz - spec.control.control_hz) > 1e-6:
        raise BundleError(
            f"its actions are steps of {1 / contract.control_hz:.3f} s ({contract.control_hz} Hz), the robot is "
            f"controlled at {spec.control.control_hz} Hz; train on data of the robot's rate"
        )
