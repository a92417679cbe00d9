"""Fixtures of the learning tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.run.run_config import RunConfig, keys_for, make_config
from mqe_core.learning.run.train import train


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One CPU thread: the tensors are small, and sums then have one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture()
def tiny_config() -> Callable[..., RunConfig]:
    """A configuration that trains in milliseconds; keyword arguments override keys."""

    def make(**overrides: Any) -> RunConfig:
        values = {
            "steps": 4,
            "batch_size": 8,
            "log_every": 1,
            "checkpoint_every": 2,
            "threads": 1,
            "device": "cpu",
            "encoder": "strided_small",
            "hidden_dims": [16, 16],
            "latent_dim": 16,
            "components": 2,
        }
        values |= overrides
        return make_config(keys_for(values.get("agent", "mqe"), values))

    return make


@pytest.fixture()
def writable_store(synthetic_store: Path, tmp_path: Path) -> Path:
    """A copy for runs on features, which leave them in the store's folder."""
    return Path(shutil.copytree(synthetic_store, tmp_path / "store"))


@pytest.fixture()
def encoder_run(synthetic_store: Path, tmp_path: Path, tiny_config: Callable[..., RunConfig]) -> Path:
    """A run of cloning from pixels, whose encoder sees each image alone."""
    keys = {"encoder": "patch", "actor_fusion": "late", "actor_goals_crossed": True, "landmark_weight": 1.0}
    train(synthetic_store, tmp_path / "encoder", tiny_config(agent="gcbc", **keys), progress=False)
    return tmp_path / "encoder"


@pytest.fixture
def other_store(tmp_path: Path) -> Path:
    """Darker pictures and smaller actions: features and actions have other means and ranges."""
    rng = np.random.default_rng(1)
    with EpisodeWriter(tmp_path / "day", image_size=32, source="test", domain="sim") as writer:
        for i in range(4):
            pictures = [rng.integers(0, 60, (32, 32, 3), dtype=np.uint8) for _ in range(9)]
            writer.add(Episode(f"e{i}", rng.normal(size=(9, 7)), 0.1 * rng.normal(size=(8, 7)), {0: pictures}))
    return tmp_path / "day"


@pytest.fixture(params=sorted(AGENTS))
def agent(request: pytest.FixtureRequest) -> str:
    """Each algorithm."""
    return request.param


@pytest.fixture(params=["pixels", "state"])
def observation(request: pytest.FixtureRequest) -> str:
    """Each kind of observation that a store has itself."""
    return request.param
