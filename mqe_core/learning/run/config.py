"""Run configuration: dataclasses whose keys carry one line of meaning, filled from YAML and from ``key=value`` options.

A configuration is flat: the keys of the training loop and of the chosen agent side by side. An unknown key or a value
of the wrong type stops the run and names the nearest known key.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from mqe_core.files.text import parse_yaml, read_yaml

PRESETS = Path(__file__).parents[1] / "presets"
GROUPS = ("run", "data", "augmentation", "optimiser", "goals", "networks", "policy", "critic", "algorithm")  # as shown


def key(default: Any, meaning: str, choices: tuple[str, ...] | None = None, *, group: str = "algorithm") -> Any:
    """A dataclass field with its default, one line of meaning, (for strings) the allowed values, and the heading that
    it is shown under, one of ``GROUPS``.
    """
    assert group in GROUPS, f"{group} is none of {GROUPS}"
    return dataclasses.field(default=default, metadata={"meaning": meaning, "choices": choices, "group": group})


def read_values(path: Path) -> dict[str, Any]:
    """The flat mapping in a YAML file, or in the preset of that name; ValueError when the file holds anything else."""
    if not path.exists() and (PRESETS / f"{path}.yaml").is_file():
        path = PRESETS / f"{path}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(preset.stem for preset in PRESETS.glob("*.yaml")))
        raise ValueError(f"no configuration file {path}, and no preset of that name: the presets are {known}")
    values = read_yaml(path)
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise ValueError(f"{path} must be a flat mapping of configuration keys to values")
    return values


def parse_assignment(text: str) -> tuple[str, Any]:
    """``"alpha=6"`` -> ``("alpha", 6)``; the value is read as YAML."""
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise ValueError(f"--set expects key=value, got {text!r}")
    return name.strip(), parse_yaml(value, f"--set {text}")


def split_values(values: Mapping[str, Any], *classes: type) -> list[dict[str, Any]]:
    """Sort a flat mapping into the dataclasses that own its keys; ValueError with the nearest key for one that nobody
    owns.
    """
    owners = {f.name: index for index, cls in enumerate(classes) for f in dataclasses.fields(cls) if f.init}
    split: list[dict[str, Any]] = [{} for _ in classes]
    for name, value in values.items():
        if name not in owners:
            near = difflib.get_close_matches(name, owners, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Known keys: {', '.join(sorted(owners))}."
            raise ValueError(f"unknown configuration key {name!r}.{hint}")
        split[owners[name]][name] = value
    return split


def build(cls: type, values: Mapping[str, Any]) -> Any:
    """An instance of the configuration dataclass with ``values`` checked against the declared types."""
    types = get_type_hints(cls)
    checked = {}
    for f in dataclasses.fields(cls):
        if f.name not in values:
            continue
        value = _checked(f.name, values[f.name], types[f.name])
        choices = f.metadata.get("choices")
        if choices and value not in choices:
            raise ValueError(f"{f.name} must be one of {', '.join(choices)}, got {value!r}")
        checked[f.name] = value
    return cls(**checked)


def _checked(name: str, value: Any, kind: Any) -> Any:
    """``value`` as ``kind`` (bool, int, float, str or tuple[int, ...]) or a ValueError that says what was expected."""
    wrong = ValueError(f"{name} must be {_type_name(kind)}, got {value!r}")
    if get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)):
            raise wrong
        return tuple(_checked(name, item, get_args(kind)[0]) for item in value)
    if kind is float:
        if isinstance(value, str):  # YAML reads 3e-4 (no dot) as text
            try:
                return float(value)
            except ValueError:
                raise wrong from None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong
        return float(value)
    if isinstance(value, bool) is not (kind is bool) or not isinstance(value, kind):
        raise wrong
    return value


def _type_name(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "a list of whole numbers"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]


def to_yaml(*configs: Any) -> str:
    """The configurations as commented YAML: one key per line with its meaning, under headings."""
    lines: dict[str, list[str]] = {group: [] for group in GROUPS}
    for config in configs:
        for f in dataclasses.fields(config):
            if "meaning" not in f.metadata:
                continue
            value = getattr(config, f.name)
            text = yaml.safe_dump(list(value) if isinstance(value, tuple) else value, default_flow_style=True)
            text = text.removesuffix("...\n").strip()
            lines[f.metadata["group"]].append(f"{f.name}: {text}  # {f.metadata['meaning']}")
    return "\n".join("\n".join([f"# --- {group} ---", *keys, ""]) for group, keys in lines.items() if keys)


def require_within(config: Any, names: tuple[str, ...], *, open_interval: bool) -> None:
    """ValueError unless each named key lies in [0, 1], or strictly between."""
    for name in names:
        value = getattr(config, name)
        if open_interval and not 0.0 < value < 1.0:
            raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}")
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} must lie in [0, 1], got {value}")


def as_values(run_config: Any) -> dict[str, Any]:
    """The flat mapping of a run configuration, the inverse of building one."""
    return {**dataclasses.asdict(run_config.train), **dataclasses.asdict(run_config.agent)}
