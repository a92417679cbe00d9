"""Bundles that somebody changed, with a hash that fits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import onnx

from mqe_core.policy.bundle import METADATA_KEY


def rewrite(source: Path, target: Path, change: Callable[[onnx.ModelProto, dict], None]) -> Path:
    """Apply `change` to model and metadata, and give the result a hash that fits: what a careful forger would
    do.
    """
    model = onnx.load(source)
    metadata = json.loads(next(entry.value for entry in model.metadata_props if entry.key == METADATA_KEY))
    metadata["content_sha256"] = "0" * 64
    change(model, metadata)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(metadata)})
    data = model.SerializeToString()
    target.write_bytes(data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1))
    return target


def set_metadata(*keys: str, value: object) -> Callable[[onnx.ModelProto, dict], None]:
    def change(_: onnx.ModelProto, metadata: dict) -> None:
        for key in keys[:-1]:
            metadata = metadata[key]
        metadata[keys[-1]] = value

    return change
