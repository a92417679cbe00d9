"""Whether values that a JSON or YAML file holds are what they should be, before anybody computes with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

Check = Callable[[object], bool]


def is_text(value: object) -> bool:
    """A text, not empty."""
    return isinstance(value, str) and value != ""


def is_count(value: object) -> bool:
    """A whole number from 0 that fits into 63 bits."""
    return type(value) is int and 0 <= value < 2**63


def is_number(value: object) -> bool:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def is_mapping(value: object) -> bool:
    """Of keys that are texts."""
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def list_of(check: Check) -> Check:
    """A list of such."""
    return lambda value: isinstance(value, list) and all(map(check, value))


def mapping_of(check: Check) -> Check:
    """A mapping to such."""
    return lambda value: isinstance(value, dict) and is_mapping(value) and all(map(check, value.values()))


def fields(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """A mapping with these keys; others in it are not looked at."""
    return lambda value: isinstance(value, dict) and not wrong_keys(value, required, optional)


def nullable(check: Check) -> Check:
    """Such, or null."""
    return lambda value: value is None or check(value)


def wrong_keys(
    content: Mapping[str, object], required: Mapping[str, Check], optional: Mapping[str, Check] | None = None
) -> list[str]:
    """The keys that are missing, or whose value is not what it should be."""
    wrong = [key for key, check in required.items() if key not in content or not check(content[key])]
    return wrong + [key for key, check in (optional or {}).items() if key in content and not check(content[key])]
