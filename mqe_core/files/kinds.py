"""What our commands make, each told from everything else by a mark that lies in it."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mqe_core.files.disk import is_probe
from mqe_core.files.system_names import is_of_a_system
from mqe_core.files.text import read_json, read_yaml
from mqe_core.files.web_page import MARK

STORE_MARK = "mqe-episode-store"  # what a store's metadata.json says of its kind
BUNDLE_BYTES = 2**29  # at most: 25 times the shipped policy; ONNX itself ends at 2 GB
_BLOCK = 2**20  # bytes
_BUNDLE_MARK = b"mqe_bundle"  # the metadata key of its contract
_PAGE_MARK = MARK.encode()
_PARTIAL = re.compile(r"\.partial-[0-9a-f]+")
_STORE_FILE = re.compile(r"camera_\d+\.bin|\w+\.npy|episodes\.json|part-\d{4,}")
_GOAL_KEYS = ("camera", "domain", "capture_pose")
_PICTURES = (b"\x89PNG", b"RIFF", b"<?xml", b"<svg")  # PNG, WebP, SVG


@dataclass(frozen=True)
class Kind:
    """What a command makes: its name, with the article, and whether something is one."""

    words: str
    stands_at: Callable[[Path], bool]

    @property
    def name(self) -> str:
        """Without the article."""
        return self.words.partition(" ")[2]


def goal_domain(png: Path) -> str | None:
    """The domain of the goal whose YAML lies beside `png`; None where there is no such YAML."""
    meaning = _content(png.with_suffix(".yaml"))
    return str(meaning["domain"]) if set(_GOAL_KEYS) <= meaning.keys() else None


def kind_of_folder(folder: Path) -> Kind | None:
    """What the folder is, where one of our commands made it."""
    return next((kind for kind in _FOLDERS if folder.is_dir() and kind.stands_at(folder)), None)


def entries_in(folder: Path) -> list[Path]:
    """What lies in the folder, but for probes and what is an operating system's."""
    return [entry for entry in folder.iterdir() if not (is_probe(entry.name) or is_of_a_system(entry.name))]


def what_stands(path: Path) -> str:
    """What lies at `path`, in words."""
    if not path.is_dir():
        return "a file"
    made = kind_of_folder(path)
    if made is not None:
        return made.words
    names = sorted(entry.name for entry in path.iterdir())
    return f"files of another kind ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"


def _content(path: Path) -> dict[str, Any]:
    """The mapping in a JSON or YAML file; empty where it cannot be read or holds something else."""
    content: Any = None
    with contextlib.suppress(OSError, ValueError):
        content = read_json(path) if path.suffix == ".json" else read_yaml(path)
    return content if isinstance(content, dict) else {}


def _has_keys(path: Path, keys: Iterable[str]) -> bool:
    return set(keys) <= _content(path).keys()


def _is_store(path: Path) -> bool:
    return _content(path / "metadata.json").get("kind") == STORE_MARK


def _begins_store(path: Path) -> bool:
    """What an import leaves, in a folder that was there before, when it is killed."""
    names = {entry.name for entry in entries_in(path)}
    return any(map(_PARTIAL.fullmatch, names)) and all(_PARTIAL.fullmatch(n) or _STORE_FILE.fullmatch(n) for n in names)


def _is_run(path: Path) -> bool:
    described = _has_keys(path / "metadata.json", ("agent", "action_low"))
    return (path / "config.yaml").is_file() and (described or (path / "checkpoints" / "latest.pt").is_file())


def _begins_run(path: Path) -> bool:
    """What a training leaves that was ended before its run folder was complete."""
    names = {entry.name for entry in entries_in(path) if not entry.name.endswith(".tmp")}
    described = "metadata.json" not in names or _has_keys(path / "metadata.json", ("agent", "action_low"))
    return names <= {"encoder.pt", "metadata.json"} and described


def _is_collection(path: Path) -> bool:
    return any(path.glob("bridge_data_v2/sim_kitchen/*/00/collection.json"))


def _is_ros_evaluation(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return re.fullmatch("[0-9a-f]{64}", (path / "policy").read_text(encoding="ascii").strip()) is not None
    return False


def _is_keys(path: Path) -> bool:
    files = (file for file in path.rglob("*") if not file.is_dir() and not is_of_a_system(file.name))
    first = next(files, None)
    return first is not None and all(file.suffix in (".key", ".key_secret") for file in itertools.chain([first], files))


def _is_ogbench(path: Path) -> bool:
    names = [entry.name for entry in entries_in(path)] if path.is_dir() else []
    return bool(names) and all(re.fullmatch(r".+-v\d+(-val)?\.(npz|partial)", name) for name in names)


def _is_bridge_tree(path: Path) -> bool:
    return any(path.glob("*/raw/traj_group*/traj*"))


def _is_lerobot(path: Path) -> bool:
    return _has_keys(path / "meta" / "info.json", ("codebase_version",))


def _is_bundle(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size > BUNDLE_BYTES:
        return False
    overlap = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            if _BUNDLE_MARK in overlap + block:
                return True
            overlap = block[-len(_BUNDLE_MARK) :]
    return False


def _is_picture(path: Path) -> bool:
    if not path.is_file():  # a pipe would be waited for
        return False
    with path.open("rb") as file:
        return file.read(8).startswith(_PICTURES)


def _is_page(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _PAGE_MARK in file.read(100)


STORE = Kind("an EpisodeStore", _is_store)
STORE_BEGUN = Kind("an unfinished import", _begins_store)
RUN = Kind("a run folder of mqe train", _is_run)
RUN_BEGUN = Kind("a run folder of mqe train", _begins_run)
COLLECTION = Kind("a collection of mqe sim collect", _is_collection)
EVALUATION = Kind("an evaluation of mqe eval", lambda path: _has_keys(path / "result.json", ("outcomes", "policy")))
ROS_EVALUATION = Kind("an evaluation of mqe_bringup.evaluate", _is_ros_evaluation)
RECORDING = Kind("a recording", lambda path: (path / "metadata.yaml").is_file() and any(path.glob("*.mcap")))
DEMO = Kind("a demo", lambda path: (path / "report.html").is_file() and (path / "bag").is_dir())
TAKEOVERS = Kind("a day of mqe_bringup.takeovers", lambda path: _has_keys(path / "takeovers.json", ("task", "scenes")))
DRIVE = Kind("a drive of mqe run", lambda path: (path / "steps.csv").is_file() and (path / "frames").is_dir())
KEYS = Kind("a folder of keys", _is_keys)
OGBENCH = Kind("a folder of OGBench's data", _is_ogbench)
BRIDGE_TREE = Kind("a raw Bridge tree", _is_bridge_tree)
LEROBOT = Kind("a LeRobot data set", _is_lerobot)
_DATA = (STORE, STORE_BEGUN, COLLECTION, RECORDING, BRIDGE_TREE, LEROBOT, OGBENCH)
_FOLDERS = (*_DATA, RUN, ROS_EVALUATION, EVALUATION, DEMO, TAKEOVERS, DRIVE, KEYS)

BUNDLE = Kind("a policy file of mqe export", _is_bundle)
PAGE = Kind("a web page of mqe", _is_page)
PICTURE = Kind("a picture", _is_picture)
