"""Data sets of OGBench's kinds, made here with scripted experts, in files that the package's own loader reads.

The recipes are OGBench's: who acts, with which noise, how many episodes of how many steps. Its experts of ant and
humanoid are trained policies, so those data sets are not made here. An episode of L stored rows is one of L steps; the
last row's action has no successor. The validation file holds a tenth as many episodes more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mqe_core.files.disk import writing
from mqe_core.files.kinds import OGBENCH
from mqe_core.files.outputs import check_folder
from mqe_core.files.progress import Progress
from mqe_core.ogbench.environments import global_numpy_seed
from mqe_core.ogbench.maze_expert import maze_episodes
from mqe_core.ogbench.names import DatasetName
from mqe_core.ogbench.table_experts import table_episodes
from mqe_core.robot.arrays import AnyArray

Episode = dict[str, list[Any]]  # rows by the keys of the file
_TYPES: dict[str, Any] = {"terminals": bool, "button_states": np.int64}


@dataclass(frozen=True)
class Recipe:
    """How a data set is made."""

    episodes: int  # for training
    rows: int  # of an episode


def recipe(name: DatasetName) -> Recipe:
    """OGBench's for this data set; ValueError where its expert is a trained policy."""
    family, _, size = name.scene.removeprefix("visual-").partition("-")
    if family == "pointmaze" and name.kind in ("navigate", "stitch"):
        if name.kind == "stitch":
            return Recipe(5000, 201)
        return Recipe(500, 2001) if size in ("giant", "colossal") else Recipe(1000, 1001)
    if family in ("cube", "scene", "puzzle"):
        longer = {"triple": 3000, "quadruple": 5000, "4x5": 3000, "4x6": 5000}
        return Recipe(longer.get(size, 1000), 1001)
    raise ValueError(
        f"{name.text} needs OGBench's trained expert and is not made here: download it as OGBench describes, and give "
        "its file with --dataset. Made here are those of pointmaze, cube, scene and puzzle"
    )


def generate(
    name: DatasetName, out: Path, *, seed: int = 0, episodes: int | None = None, progress: bool = True
) -> tuple[Path, Path]:
    """Write `out/NAME.npz` and `out/NAME-val.npz`; the same seed gives the same files on one machine.

    ``episodes``: for training, where they are not the recipe's. ValueError where a file is there already, where there
    is no recipe, or where the package is missing.
    """
    plan = recipe(name)
    train = plan.episodes if episodes is None else episodes
    if train < 1:
        raise ValueError(f"--episodes must be at least 1, got {train}")
    validation = max(train // 10, 1)
    paths = out / f"{name.text}.npz", out / f"{name.text}-val.npz"
    needed_bytes = (train + validation) * plan.rows * (64 * 64 * 3 if name.pixels else 512)
    check_folder(out, OGBENCH, continues=(OGBENCH,), needed_bytes=needed_bytes)
    for path in paths:
        if path.exists():
            raise ValueError(f"{path} exists already; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    make: Callable[[DatasetName, int, int], Iterator[Episode]] = maze_episodes if name.maze else table_episodes
    with global_numpy_seed(seed), Progress(total=train + validation, unit="episode", disable=not progress) as bar:
        source = make(name, plan.rows, seed)
        for path, count in zip(paths, (train, validation)):
            columns: dict[str, list[AnyArray]] = defaultdict(list)
            for _ in range(count):
                for key, rows in next(source).items():
                    columns[key].append(_as_stored(key, rows))
                bar.update()
            _save(path, {key: np.concatenate(parts) for key, parts in columns.items()})
    return paths


def _as_stored(key: str, rows: list[Any]) -> AnyArray:
    array = np.asarray(rows)
    return array if array.dtype == np.uint8 else array.astype(_TYPES.get(key, np.float32))


def _save(path: Path, arrays: dict[str, AnyArray]) -> None:
    """Whole, or not at all; stored as they are, so that reading can map them."""
    partial = path.with_suffix(".partial")
    try:
        with writing(path), partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes the keys for options
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
