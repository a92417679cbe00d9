"""A small source for imports that are ended and started again."""

from __future__ import annotations

from pathlib import Path

from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.files.disk import is_probe

EPISODES = 8


def make_tree(root: Path, make_trajectory, episodes: int = EPISODES) -> Path:
    """With a broken trajectory, one that stands there twice, and a second camera from the middle on."""
    folder = root / "src/2023-01-01_00-00-00/raw/traj_group0"
    for k in range(episodes):
        seed = 1 if k == 3 else k
        make_trajectory(folder / f"traj{k}", 4, seed=seed, cameras=(0, 1) if k >= episodes // 2 else (0,))
    (folder / "traj2/obs_dict.pkl").unlink()
    return root / "src"


def import_tree(source: Path, out: Path, **options) -> EpisodeStore:
    options = {"image_size": 8, "source_name": "s", "workers": 2, "trust_units": True, "root": source, **options}
    return import_episodes(open_source(source), out, **options)


def contents(store: Path) -> dict[str, bytes]:
    """Of every file of the store, by its path inside."""
    files = [file for file in store.rglob("*") if file.is_file() and not is_probe(file.name)]
    return {file.relative_to(store).as_posix(): file.read_bytes() for file in files if ".partial-0" not in file.parts}
