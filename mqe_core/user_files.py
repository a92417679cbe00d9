"""Where a user's own goals and settings lie: `~/.mqe`, or the folder that MQE_HOME names."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

_KEYS = {"policy"}


def user_folder() -> Path:
    """The folder itself; it need not exist."""
    return Path(os.environ.get("MQE_HOME") or "~/.mqe").expanduser()


def goal_folder() -> Path:
    """Where the user's goal images lie."""
    return user_folder() / "goals"


def configured_policy() -> Path | None:
    """The policy named under `policy:` in config.yaml (a path relative to that file), or None.

    Raises ValueError where the file cannot be understood.
    """
    path = user_folder() / "config.yaml"
    if not path.is_file():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML: {error}") from error
    if (
        not isinstance(content, dict)
        or set(content) - _KEYS
        or not isinstance(content.get("policy", ""), str)
    ):
        raise ValueError(
            f"{path}: expected at most the key policy with a path to an .onnx file, got {content!r}"
        )
    return path.parent / Path(content["policy"]).expanduser() if content.get("policy") else None
