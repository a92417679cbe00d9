"""From an EpisodeStore to a raw BridgeData tree, as the robot's own code writes it (`BridgeRawSource` has the layout).

    OUT/<date>/collection_metadata.json        domain; each episode's name in the store
    OUT/<date>/raw/traj_group<k>/traj<i>/      images<c>/im_<t>.png or .jpg, obs_dict.pkl, policy_out.pkl, lang.txt

States and actions are the store's float32 numbers as float64, so they are the same when they are read. Images are the
store's bytes as they are, square. A scene of the store, which is a dated folder of a raw tree, becomes a dated folder
again; the dates are no days, but count scenes. Times are those of an even rate. What such a tree has no place for is
lost: the split.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

import numpy as np

from mqe_core.data.episode import EncodedEpisode
from mqe_core.data.exports.growing_folder import growing
from mqe_core.data.names import scene_of
from mqe_core.data.readers.bridge_raw import NO_LABEL
from mqe_core.data.readers.collection_metadata import describe_export
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import BRIDGE_CONTROL_HZ
from mqe_core.files.kinds import BRIDGE_TREE
from mqe_core.files.outputs import check_folder
from mqe_core.files.progress import Progress

log = logging.getLogger(__name__)

_FIRST_DATE = datetime(2030, 1, 1)  # of the first scene; the next one is a minute later
_GROUP = 1000  # trajectories in a traj_group, as bridge_data_robot has it
_UNFINISHED = "unfinished"  # until the whole tree is written: under this name no reader finds the trajectories
_BESIDE_IMAGES = 4096  # bytes of an episode, at most about, besides its images and numbers


def export_bridge_tree(store: EpisodeStore, out: Path, *, progress: bool = False) -> None:
    """Write all episodes of `store` to a new folder `out`.

    ValueError, before anything is written, where something stands there, or the store's rate is not BridgeData's;
    WriteError, leaving nothing, where the disk does not take it.
    """
    if store.control_hz != BRIDGE_CONTROL_HZ:
        raise ValueError(
            f"{store.path} has {store.control_hz:g} Hz, and a raw Bridge tree is read as {BRIDGE_CONTROL_HZ:g} Hz: "
            "export it with --to lerobot, which states the rate"
        )
    needed = sum(entry["bytes"] for entry in store.metadata["files"].values()) + store.num_episodes * _BESIDE_IMAGES
    check_folder(out, BRIDGE_TREE, reads=[store.path], needed_bytes=needed)
    _warn_of_losses(store)
    with growing(out) as partial:
        scenes: list[Path] = []
        with Progress(total=store.num_episodes, unit="episode", desc="exporting", disable=not progress) as bar:
            for _, numbers in groupby(range(store.num_episodes), key=lambda number: scene_of(store.names[number])):
                scenes.append(partial / (_FIRST_DATE + timedelta(minutes=len(scenes))).strftime("%Y-%m-%d_%H-%M-%S"))
                inside = list(numbers)
                for index, number in enumerate(inside):
                    folder = scenes[-1] / _UNFINISHED / f"traj_group{index // _GROUP}" / f"traj{index}"
                    _write_episode(folder, store.encoded_episode(number), store.control_hz)
                    bar.update()
                describe_export(scenes[-1], store, inside)
        for scene in scenes:
            (scene / _UNFINISHED).rename(scene / "raw")


def _warn_of_losses(store: EpisodeStore) -> None:
    if any(store.splits):
        log.warning("a raw Bridge tree has no splits: those of the store are not exported")
    unread = sum(any(NO_LABEL in text for text in lines) for lines in store.languages)
    if unread:
        log.warning('%d episodes have an instruction with "%s", which readers of such trees skip', unread, NO_LABEL)


def _write_episode(folder: Path, episode: EncodedEpisode, control_hz: float) -> None:
    for camera, frames in episode.images.items():
        (folder / f"images{camera}").mkdir(parents=True)
        for t, frame in enumerate(frames):
            suffix = "png" if frame.startswith(b"\x89PNG") else "jpg"
            (folder / f"images{camera}" / f"im_{t}.{suffix}").write_bytes(frame)
    folder.mkdir(parents=True, exist_ok=True)
    states, actions = episode.states.astype(np.float64), episode.actions.astype(np.float64)
    observations = {
        "full_state": states,
        "state": states,
        "time_stamp": (np.arange(len(states)) / control_hz).tolist(),
    }
    outputs = [{"actions": action, "policy_type": "exported"} for action in actions]
    (folder / "obs_dict.pkl").write_bytes(pickle.dumps(observations, protocol=4))
    (folder / "policy_out.pkl").write_bytes(pickle.dumps(outputs, protocol=4))
    if episode.languages:
        (folder / "lang.txt").write_text(_lines(episode.languages), encoding="utf-8", errors="surrogateescape")


def _lines(languages: Sequence[str]) -> str:
    """One instruction a line."""
    return "".join(f"{' '.join(text.split())}\n" for text in languages)
