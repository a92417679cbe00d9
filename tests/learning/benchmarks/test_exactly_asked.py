"""benchmarks/exactly_asked.py: a scene counts where what was asked for was done, and what else was moved is counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training is not installed: make learn")
pytest.importorskip("pybullet")

from benchmarks import exactly_asked
from benchmarks.true_states_play import Asked, moved
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED
from mqe_sim.tasks import Task
from mqe_sim.world import World

PLAYED = "place2", FIRST_EVALUATION_SEED, 1, "critic"


class Done(Asked):
    """The scene with everything asked for done already."""

    def of(self, task_name: str, world: World, seed: int) -> Task:
        task = super().of(task_name, world, seed)
        task.solve()
        return task


def test_a_policy_is_judged_by_what_lies_where(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = PolicyBundle.open(make_bundle())
    assert exactly_asked.play(bundle, *PLAYED) == (0.0, 0)
    monkeypatch.setattr(exactly_asked, "Asked", Done)
    assert exactly_asked.play(bundle, *PLAYED) == (1.0, 0)


def test_things_of_other_numbers_and_small_ways_do_not_count() -> None:
    begin = np.zeros(9)
    end = np.array([0.0, 0.04, 0.0, 0.02, 0.0, 0.02, 0.0, 0.0, 0.04])
    assert [moved(begin, end, np.array(which)) for which in ([0], [1], [2], [0, 1, 2])] == [1, 0, 1, 2]
