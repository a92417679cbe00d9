"""What an encoder without fault would see of place tasks: the hand, the gripper, and where each thing is.

Collections hold no positions of objects, but those that an episode does not move lie where the scene puts them, and the
one that it moves lies where the fingers last close, then in them, then where they open.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.robot.arrays import Floats
from mqe_sim.tasks import make_task
from mqe_sim.tasks.home import HOME_STATE
from mqe_sim.tasks.place import PlaceTask
from mqe_sim.world import World

_FREE = 0.8  # measured opening of fingers that hold nothing
_LONGEST = 4  # objects; with fewer the rest is 0


def table_states(raw: Path, store: EpisodeStore, world: World) -> tuple[Tensor, dict[int, dict[int, Tensor]]]:
    """(N, 7 + 6 * 4) of all frames of a store made of the tree at `raw`, in m and rad; and by episode and other open
    stage the state that shows that stage done in place of the episode's own."""
    found, swapped = [], {}
    starts = np.concatenate([[0], store.episode_ends[:-1]])
    for number, name in enumerate(store.names):
        outcome = json.loads((raw / name / "outcome.json").read_text())
        before, after = outcome["stages_before"], outcome["stages_after"]
        own = next(stage for stage in range(len(before)) if before[stage] != after[stage])
        done = [stage for stage in range(len(before)) if before[stage]]
        scene = make_task(outcome["task"], world, outcome["seed"], stage=own, done=done)
        assert isinstance(scene, PlaceTask)
        things, targets = (np.array([world.position(b) for b in ids]) for ids in (scene.objects, scene.targets))
        hands = store.states[starts[number] : store.episode_ends[number]]
        moved = np.repeat(things[None], len(hands), axis=0)
        moved[:, own] = way(hands, np.array([*targets[own][:2], things[own][2]]))
        found += [_state(hand, now, targets) for hand, now in zip(hands, moved)]
        for other in range(len(before)):
            if other != own and other not in done:
                shown = moved[0].copy()
                shown[other, :2] = targets[other, :2]
                home = torch.from_numpy(_state(np.array([*HOME_STATE, 1.0])[:7], shown, targets))
                swapped.setdefault(number, {})[other] = home
    return torch.from_numpy(np.array(found)), swapped


def way(hands: Floats, target: Floats) -> Floats:
    """(T, 3): where the thing is that the hands (T, 7) put at `target` (3,)."""
    held = hands[:, 6] < _FREE
    if not held.any():
        return np.repeat(target[None], len(hands), axis=0)
    last = int(np.flatnonzero(held)[-1])
    open_before = np.flatnonzero(~held[:last])
    first = int(open_before[-1]) + 1 if len(open_before) else 0
    offset = target - hands[last, :3]
    place = np.repeat(target[None], len(hands), axis=0)
    place[first : last + 1] = hands[first : last + 1, :3] + offset
    place[:first, :2] = hands[first, :2] + offset[:2]  # it stands as high as the others do: nothing else tells it apart
    return place


def _state(hand: Floats, things: Floats, targets: Floats) -> Floats:
    padded = np.zeros((2, _LONGEST, 3))
    padded[0, : len(things)], padded[1, : len(targets)] = things, targets
    return np.concatenate([hand, padded.ravel()]).astype(np.float32)
