"""A user's own goals and settings, in `~/.mqe` or the folder that MQE_HOME names; and what is used without them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mqe_core.files.text import read_yaml_mapping

SHIPPED = "shipped"  # said of a policy that nobody named
SHIPPED_POLICY = "widowx_sim.onnx"
_BRINGUP = Path(__file__).resolve().parents[1] / "ros2_ws" / "src" / "mqe_bringup"  # in a source checkout
_KEYS: dict[str, type | tuple[type, ...]] = {"policy": str, "table_height_m": (int, float)}


def user_folder() -> Path:
    """The folder itself; it need not exist."""
    return Path(os.environ.get("MQE_HOME") or "~/.mqe").expanduser()


def goal_folder() -> Path:
    """Where the user's goal images lie."""
    return user_folder() / "goals"


def goal_folders() -> list[Path]:
    """The user's goals, and those that come with a source checkout."""
    return [goal_folder(), _BRINGUP / "goals"]


def configured_policy() -> Path | None:
    """The policy that config.yaml names under `policy:` (a path relative to that file), or None.

    ValueError where the file cannot be understood.
    """
    content = _read_config()
    return _config_file().parent / Path(content["policy"]).expanduser() if content.get("policy") else None


def shipped_policy() -> Path:
    """The policy that comes with a source checkout; elsewhere there is no such file."""
    return _BRINGUP / "policies" / SHIPPED_POLICY


def policy_in_use(given: str | Path | None, shipped: Path) -> tuple[Path, str]:
    """(file, who named it): the one that is given, else the configured one, else `shipped`, of which SHIPPED is said.

    ValueError as `configured_policy`.
    """
    if given:
        return Path(given).expanduser().resolve(), "given"
    configured = configured_policy()
    return (shipped, SHIPPED) if configured is None else (configured, f"named in {_config_file()}")


def configured_table_height() -> float | None:
    """`table_height_m:` in config.yaml: the table's surface above the arm's mounting plane, m; or None.

    ValueError where the file cannot be understood.
    """
    height = _read_config().get("table_height_m")
    return None if height is None else float(height)


def measured_table_height(given: float | None) -> float:
    """The height that was given, else the configured one, m.

    A real table has no default: ValueError, with the remedy, where neither is there.
    """
    height = given if given is not None else configured_table_height()
    if height is None:
        raise ValueError(
            "the height of your table is not known: measure from the arm's mounting plane up to the table's "
            "surface (negative: the table is lower) and give table_height:=METRES to the launch, "
            f"--table-height METRES to a command, or put `table_height_m: METRES` into {_config_file()}"
        )
    return height


def _config_file() -> Path:
    return user_folder() / "config.yaml"


def _read_config() -> dict[str, Any]:
    path = _config_file()
    if not path.is_file():
        return {}
    content = read_yaml_mapping(path)
    known = all(
        key in _KEYS and isinstance(value, _KEYS[key]) and not isinstance(value, bool) for key, value in content.items()
    )
    if not known:
        raise ValueError(
            f"{path}: expected at most policy (a path to an .onnx file) and table_height_m (a number of metres), "
            f"got {content!r}"
        )
    return content
