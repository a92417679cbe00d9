"""A collection on disk: a raw BridgeData V2 tree, as a robot's own recordings are.

Each scene has a dated folder of its own, as a table set up by hand has in BridgeData, and each of its episodes a folder
`traj<n>` in it. Beside BridgeData's files stand two of ours: `collection.json`, what the tree was collected with, and
in each episode `outcome.json`, what came of it. Each step of `policy_out.pkl` also has `stage_actions` (stages, 7):
what the script would have done for each stage alone, NaN for those that were not open.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from mqe_core import ros_names
from mqe_core.files.checks import is_number, list_of, nullable, wrong_keys
from mqe_core.files.disk import write_atomically, writing
from mqe_core.files.kinds import COLLECTION
from mqe_core.files.outputs import check_folder
from mqe_core.files.text import read_json, read_json_mapping
from mqe_core.images import encode_jpeg
from mqe_core.policy.domain import SIM
from mqe_sim.demonstration import Demonstration, Outcome

JPEG_QUALITY = 95
_STAGES = list_of(lambda value: isinstance(value, bool))
_OUTCOME = {
    "score": is_number,
    "max_score": is_number,
    "event": nullable(lambda value: isinstance(value, str)),
    "stages_before": _STAGES,
    "stages_after": _STAGES,
}
_FIRST_DATE = datetime(2026, 1, 1)  # of scene 0; the next one is a minute later, so that a seed always gives one tree


def claim(out: Path, task: str, settings: Mapping[str, object]) -> Path:
    """Make the folder for episodes of `task` under `out` and note what they are collected with; returns the folder.

    Raises ValueError where it holds episodes of other settings, or anything else: trees are not mixed.
    """
    check_folder(out, COLLECTION, continues=(COLLECTION,), remedy="choose another --out")
    root = out / "bridge_data_v2" / "sim_kitchen" / task / "00"
    path = root / "collection.json"
    if path.exists() and read_json(path) != settings:
        raise ValueError(f"{path} belongs to a collection with other settings; choose another --out")
    write_atomically(path, json.dumps(settings, indent=1).encode())
    return root


def episode_folder(root: Path, seed: int, number: int) -> Path:
    """Where episode `number` of scene `seed` belongs."""
    dated = root / (_FIRST_DATE + timedelta(minutes=seed)).strftime("%Y-%m-%d_%H-%M-%S")
    return dated / "raw" / "traj_group0" / f"traj{number}"


def write_episode(folder: Path, demonstration: Demonstration, task: str, seed: int) -> None:
    """Write one episode. It has another name until it is complete. WriteError, leaving none, where the disk is full."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with writing(folder):
            _describe_scene(folder.parents[2])
            _write_files(partial, demonstration, task, seed)
            partial.rename(folder)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write_files(partial: Path, demonstration: Demonstration, task: str, seed: int) -> None:
    (partial / "images0").mkdir(parents=True)
    for t, image in enumerate(demonstration.images):
        (partial / "images0" / f"im_{t}.jpg").write_bytes(encode_jpeg(image, JPEG_QUALITY))
    observations = {
        "full_state": demonstration.full_state,
        "desired_state": demonstration.desired_state,
        "qpos": demonstration.qpos,
        "state": demonstration.full_state,
        "time_stamp": demonstration.time_stamp.tolist(),
    }
    (partial / "obs_dict.pkl").write_bytes(pickle.dumps(observations, protocol=4))
    policy_out = [
        {"actions": action, "policy_type": "oracle", "stage_actions": alternatives}
        for action, alternatives in zip(demonstration.actions, demonstration.stage_actions)
    ]
    (partial / "policy_out.pkl").write_bytes(pickle.dumps(policy_out, protocol=4))
    (partial / "lang.txt").write_text(demonstration.language + "\n", encoding="utf-8")
    outcome = {"task": task, "seed": seed, **dataclasses.asdict(demonstration.outcome)}
    (partial / "outcome.json").write_text(json.dumps(outcome), encoding="utf-8")


def read_outcome(folder: Path) -> Outcome:
    """What came of the episode in `folder`."""
    file = folder / "outcome.json"
    fields = read_json_mapping(file)
    if wrong := wrong_keys(fields, _OUTCOME):
        raise ValueError(f"{file}: {', '.join(wrong)} cannot be understood; delete the episode and collect it again")
    return Outcome(
        score=fields["score"],
        max_score=fields["max_score"],
        event=fields["event"],
        stages_before=tuple(fields["stages_before"]),
        stages_after=tuple(fields["stages_after"]),
    )


def bytes_of(folder: Path) -> int:
    """What an episode takes on the disk; 0 for one that was not written."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def check_stages(root: Path) -> tuple[Counter[str], list[Path]]:
    """Number of episodes in a tree by the event in them, and the folders of those that do not show exactly one stage.

    Where there are none of the latter, training data from this tree holds no chain of stages. Raises ValueError for a
    tree without episodes.
    """
    outcomes = {path.parent: read_outcome(path.parent) for path in sorted(root.rglob("outcome.json"))}
    if not outcomes:
        raise ValueError(f"{root} holds no episodes of `mqe sim collect`")
    events = Counter(outcome.event or "nothing special" for outcome in outcomes.values())
    return events, [folder for folder, outcome in outcomes.items() if not outcome.shows_one_stage]


def _describe_scene(folder: Path) -> None:
    """The two files that BridgeData has beside raw/."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"camera_topics": [ros_names.IMAGE]}), encoding="utf-8")
    # Tells the importer that these images are no photographs; the real robot's files say nothing of it.
    (folder / "collection_metadata.json").write_text(json.dumps({"domain": SIM}), encoding="utf-8")
