"""The coefficients that were tuned for each data set of OGBench: presets/tuned/ogbench.yaml, by name of the set."""

from __future__ import annotations

import difflib
import functools
import itertools
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from mqe_core.files.text import read_yaml
from mqe_core.learning.run.config import PRESETS

TABLE = PRESETS / "tuned" / "ogbench.yaml"


@dataclass(frozen=True)
class Tuned:
    """What the table says of one agent on one data set."""

    values: dict[str, Any]
    sources: dict[str, str]  # of each key, in words

    def comment(self, dataset: str, agent: str) -> str:
        """One line of commented YAML per key, with its source."""
        lines = [f"#   {key}: {value}  ({self.sources[key]})" for key, value in self.values.items()]
        return "\n".join([f"# {agent} on {dataset}, beside {preset_of(dataset)}:", *(lines or ["#   nothing"]), ""])


@functools.cache
def _table() -> dict[str, Any]:
    return read_yaml(TABLE)


@functools.cache
def known_datasets() -> tuple[str, ...]:
    """Every goal-conditioned data set with continuous actions, and the colossal mazes; names as OGBench has them."""
    return tuple(name for pattern in _table()["datasets"] for name in _expanded(pattern))


def require_dataset(name: str) -> str:
    """The name in full, with its version; ValueError with the nearest names for one that is not known."""
    full = name if re.search(r"-v\d+$", name) else f"{name}-v0"
    if full not in known_datasets():
        near = difflib.get_close_matches(full, known_datasets(), n=3, cutoff=0.5)
        families = sorted({known.removeprefix("visual-").split("-")[0] for known in known_datasets()})
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are those of {', '.join(families)}"
        raise ValueError(f"no data set {name!r}: {hint}")
    return full


def preset_of(dataset: str) -> str:
    """The preset that its runs begin with."""
    return "ogbench_pixels" if dataset.startswith("visual-") else "ogbench_state"


def tuned(dataset: str, agent: str) -> Tuned:
    """The agent's coefficients for a data set; ValueError for a set that is not known."""
    name = re.sub(r"-v\d+$", "", require_dataset(dataset))
    table, values, sources = _table(), {}, {}
    for row in table["rows"]:
        if fnmatchcase(name, row["pattern"]) or fnmatchcase(name.removeprefix("visual-"), row["pattern"]):
            for key, value in {**row.get("all", {}), **row.get(agent, {})}.items():
                values[key], sources[key] = value, table["sources"][row["source"]]
    return Tuned(values, sources)


def _expanded(pattern: str) -> list[str]:
    """``"{a,b}-{c,d}"`` -> ``["a-c", "a-d", "b-c", "b-d"]``."""
    parts = [part.split(",") if n % 2 else [part] for n, part in enumerate(re.split(r"{([^}]*)}", pattern))]
    return ["".join(chosen) for chosen in itertools.product(*parts)]
