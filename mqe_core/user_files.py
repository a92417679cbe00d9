"""Where a user's own goals and settings lie: `~/.mqe`, or the folder that MQE_HOME names; and what stands in for them."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

SHIPPED = "shipped"  # who named a policy that nobody named
SHIPPED_POLICY = "widowx_sim.onnx"
_BRINGUP = Path(__file__).resolve().parents[1] / "ros2_ws" / "src" / "mqe_bringup"  # in a source checkout
_KEYS = {"policy": str, "table_height_m": (int, float)}


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
    """The policy named under `policy:` in config.yaml (a path relative to that file), or None.

    Raises ValueError where the file cannot be understood.
    """
    content = _read_config()
    return _config_file().parent / Path(content["policy"]).expanduser() if content.get("policy") else None


def shipped_policy() -> Path:
    """The one that comes with a source checkout; elsewhere there is no such file."""
    return _BRINGUP / "policies" / SHIPPED_POLICY


def policy_in_use(given: str | Path | None, shipped: Path) -> tuple[Path, str]:
    """(file, who named it): the one that is given, else the configured one, else `shipped`, named by SHIPPED. ValueError as `configured_policy`."""
    if given:
        return Path(given).expanduser().resolve(), "given"
    configured = configured_policy()
    return (shipped, SHIPPED) if configured is None else (configured, f"named in {_config_file()}")


def configured_table_height() -> float | None:
    """`table_height_m:` in config.yaml: the table's surface above the arm's mounting plane; or None.

    Raises ValueError where the file cannot be understood.
    """
    height = _read_config().get("table_height_m")
    return None if height is None else float(height)


def measured_table_height(given: float | None) -> float:
    """What was given, else what is configured. A real table has no default: ValueError with the remedy where neither is there."""
    height = given if given is not None else configured_table_height()
    if height is None:
        raise ValueError(
            "the height of your table is not known: measure from the arm's mounting plane up to the table's surface (negative: the table is lower) "
            f"and give table_height:=METRES to the launch, --table-height METRES to a command, or put `table_height_m: METRES` into {_config_file()}"
        )
    return height


def _config_file() -> Path:
    return user_folder() / "config.yaml"


def _read_config() -> dict[str, object]:
    path = _config_file()
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML: {error}") from error
    known = isinstance(content, dict) and all(
        key in _KEYS and isinstance(value, _KEYS[key]) and not isinstance(value, bool) for key, value in content.items()
    )
    if not known:
        raise ValueError(
            f"{path}: expected at most policy (a path to an .onnx file) and table_height_m (a number of metres), got {content!r}"
        )
    return content
