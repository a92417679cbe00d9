"""Fixtures of the learning tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from mqe_core.learning.trainer import RunConfig, keys_for, make_config


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
            "steps": 4, "batch_size": 8, "log_every": 1, "checkpoint_every": 2, "threads": 1, "device": "cpu",
            "encoder": "strided_small", "hidden_dims": [16, 16], "latent_dim": 16, "components": 2,
        }  # fmt: skip
        values |= overrides
        return make_config(keys_for(values.get("agent", "mqe"), values))

    return make
