"""Promise: with pictures_at_once loss and gradient are those of the whole batch, and memory is that of one lot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.networks.encoders import FilmedEncoder, make_image_encoder
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.trainer import Trainer
from tests.learning.ranks.rank_pair import in_float64

Config = Callable[..., RunConfig]


def loss_and_gradients(store: Path, config: RunConfig, seed: int = 0) -> tuple[Tensor, Tensor]:
    """In float64, of one batch."""
    trainer = Trainer(EpisodeStore.open(store), config, progress=False)
    trainer.agent.double()
    batch = in_float64(trainer.data.sample(np.random.default_rng(seed), trainer.agent.frames))
    torch.manual_seed(seed)  # of actions that are drawn
    loss, _ = trainer.agent.loss(batch)
    loss.backward()
    gradients = [parameter.grad for parameter in trainer.agent.parameters() if parameter.grad is not None]
    return loss.detach(), torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize("agent", AGENTS)
def test_the_loss_and_its_gradient_are_those_of_the_whole_batch(
    agent: str, synthetic_store: Path, tiny_config: Config
) -> None:
    """Three at once: eight rows do not divide by it."""
    keys = {"agent": agent, "observation": "pixels", "hidden_dims": [8, 8]}
    torch.set_default_dtype(torch.float64)
    try:
        whole, parts = (
            loss_and_gradients(synthetic_store, tiny_config(**keys, pictures_at_once=most)) for most in (0, 3)
        )
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(parts[0], whole[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(parts[1], whole[1], rtol=1e-9, atol=1e-11)


def kept_bytes(encoder: torch.nn.Module, *inputs: Tensor) -> int:
    """What a forward pass keeps for its gradient, but for parameters."""
    own = {parameter.data_ptr() for parameter in encoder.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        features = encoder(*inputs)
    assert features.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("name", ["resnet18", "strided_small"])
def test_of_a_lot_little_more_than_its_features_is_kept(name: str) -> None:
    encoder = make_image_encoder(name, 3, 32)
    images = torch.randint(0, 256, (12, 32, 32, 3), dtype=torch.uint8)
    whole = kept_bytes(encoder, images)
    encoder.pictures_at_once = 3
    assert kept_bytes(encoder, images) < whole / 10
    encoder.eval()
    assert kept_bytes(encoder, images) == pytest.approx(whole, rel=0.2)


def test_a_steered_encoder_answers_the_same() -> None:
    encoder = FilmedEncoder(make_image_encoder("resnet18", 3, 32), 5).train()
    for film in encoder.films:
        torch.nn.init.normal_(film.weight, std=0.1)
    images, condition = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8), torch.randn(5, 5)
    whole = encoder(images, condition)
    encoder.encoder.pictures_at_once = 2
    torch.testing.assert_close(encoder(images, condition), whole, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images, condition), whole, rtol=1e-4, atol=1e-5)


def test_it_cannot_be_negative(tiny_config: Config) -> None:
    with pytest.raises(ValueError, match="pictures_at_once must not be negative"):
        tiny_config(pictures_at_once=-1)
