"""Encoders: what makes features of an observation, a standardised state or a picture.

Images enter as uint8 ``(B, H, W, C)`` and are scaled inside the network, so that the exported policy takes what a
camera gives.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mqe_core.learning.networks.convolutions import (
    impala_convolutions,
    patch_convolutions,
    residual_convolutions,
    strided_convolutions,
    xavier_init,
)
from mqe_core.learning.networks.layers import gelu
from mqe_core.learning.networks.resnet import STAGES, BasicBlock, bridge_resnet, imagenet_resnet
from mqe_core.learning.rows.observations import ObservationSpec, Statistics


class StateEncoder(nn.Module):
    """Standardises state vectors with statistics that travel with the network, ``(B, S) -> (B, S)``."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())
        self.out_features = mean.shape[0]

    def forward(self, states: Tensor) -> Tensor:
        return (states - self.mean) / self.std


@functools.cache
def has_bfloat16(device: str) -> bool:
    """Whether a kind of device computes in bfloat16 itself."""
    if device != "cpu":
        return True
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return supported is not None and supported()


class ImageEncoder(nn.Module):
    """Convolutions, flatten, one dense layer (and LayerNorm), GELU: ``(B, H, W, C) uint8 -> (B, out_features)
    float32``. Where ``out_features`` is 0 the answer is what the convolutions make, as of networks that end with a mean
    over the picture.

    With ``bfloat16`` the encoder (nothing else) computes in bfloat16 while training, where the processor has it: one
    without emulates it, ten times slower than float32. In evaluation mode it is always float32.

    While training it takes :attr:`pictures_at_once`, one lot after the other (0: all). Of a lot only the features are
    kept; for the gradient it is computed again. So memory is that of one lot, and the loss sees the features of all.
    """

    pictures_at_once: int = 0

    def __init__(
        self,
        convolutions: nn.Sequential,
        channels: int,
        image_size: int,
        out_features: int,
        layer_norm: bool,
        bfloat16: bool = False,
    ) -> None:
        super().__init__()
        self.in_bfloat16, self.channels = bfloat16, channels
        self.convolutions = convolutions
        with torch.no_grad():
            flat = convolutions(torch.zeros(1, channels, image_size, image_size)).numel()
        self.dense = nn.Linear(flat, out_features).apply(xavier_init) if out_features else None
        self.norm = nn.LayerNorm(out_features) if layer_norm else nn.Identity()
        self.out_features = out_features or flat
        # NHWC memory: what the input already has after the permute, and the faster layout for narrow convolutions.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a form that torch's types leave out

    @property
    def steered(self) -> list[BasicBlock] | list[nn.Conv2d]:
        """The layers after which FiLM scales and shifts ``out_channels``: the blocks of a ResNet, else the outer
        convolutions.
        """
        blocks = [layer for layer in self.convolutions if isinstance(layer, BasicBlock)]
        return blocks or [layer for layer in self.convolutions if isinstance(layer, nn.Conv2d)]

    def forward(self, images: Tensor, films: Sequence[Tensor] = ()) -> Tensor:
        """``films``: scale and shift ``(B, 2 * channels)`` after each of :attr:`steered`, or none."""
        most = self.pictures_at_once
        if not (self.training and most and len(images) > most):
            return self._features(images, films)
        lots = zip(images.split(most), *(film.split(most) for film in films))
        return torch.cat([self._again_for_its_gradient(lot, *film) for lot, *film in lots])

    def _again_for_its_gradient(self, images: Tensor, *films: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return self._features(images, films)
        features = checkpoint(self._features, images, films, use_reentrant=False, preserve_rng_state=False)
        assert isinstance(features, Tensor)
        return features

    def _features(self, images: Tensor, films: Sequence[Tensor]) -> Tensor:
        if self.in_bfloat16 and self.training and has_bfloat16(images.device.type):
            with torch.autocast(images.device.type, dtype=torch.bfloat16):
                return self._encode(images, films).to(torch.float32)
        return self._encode(images, films)

    def _encode(self, images: Tensor, films: Sequence[Tensor]) -> Tensor:
        kind = next(self.parameters()).dtype
        x = images.permute(0, 3, 1, 2).to(kind, copy=True).div_(255.0)  # (B, C, H, W), NHWC strides
        film_after: dict[nn.Module, Tensor] = dict(zip(self.steered, films, strict=True)) if films else {}
        for layer in self.convolutions:
            x = layer(x)
            if layer in film_after:
                scale, shift = film_after[layer].to(x.dtype)[:, :, None, None].chunk(2, dim=1)
                x = x * (1.0 + scale) + shift
        return x.flatten(1) if self.dense is None else gelu(self.norm(self.dense(x.flatten(1))))


class FilmedEncoder(nn.Module):
    """An image encoder steered by a vector: FiLM, ``x * (1 + scale) + shift`` per channel after each layer that
    :attr:`ImageEncoder.steered` names.

    ``(B, H, W, C) uint8, (B, D) -> (B, out_features)``. Scale and shift are linear in the vector and begin at zero.
    """

    def __init__(self, encoder: ImageEncoder, condition_features: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.out_features = encoder.out_features
        films = [nn.Linear(condition_features, 2 * layer.out_channels) for layer in encoder.steered]
        for film in films:
            nn.init.zeros_(film.weight)
            nn.init.zeros_(film.bias)
        self.films = nn.ModuleList(films)

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        return self.encoder(images, [film(condition) for film in self.films])


ENCODERS = {  # name: (convolutions, widths or blocks, features after the dense layer or 0 without one, LayerNorm there)
    "impala_small": (impala_convolutions, (16, 32, 32), 512, False),
    "patch": (patch_convolutions, (64, 64, 64), 256, True),
    "residual": (residual_convolutions, (32, 64, 96, 128), 384, True),
    "resnet18": (bridge_resnet, STAGES["resnet18"], 0, False),
    "resnet18_imagenet": (imagenet_resnet, STAGES["resnet18"], 0, False),
    "resnet34": (bridge_resnet, STAGES["resnet34"], 0, False),
    "resnet34_imagenet": (imagenet_resnet, STAGES["resnet34"], 0, False),
    "strided": (strided_convolutions, (32, 32, 64, 64), 256, True),
    "strided_small": (strided_convolutions, (16, 32, 32, 32), 256, True),
}


def make_image_encoder(name: str, channels: int, image_size: int, bfloat16: bool = False) -> ImageEncoder:
    """The named encoder for ``channels`` input channels; ValueError for an unknown name."""
    if name not in ENCODERS:
        raise ValueError(f"unknown encoder {name!r}: choose one of {', '.join(sorted(ENCODERS))}")
    convolutions, widths, features, layer_norm = ENCODERS[name]
    return ImageEncoder(convolutions(channels, widths), channels, image_size, features, layer_norm, bfloat16)


class PairEncoder(nn.Module):
    """Features of observations and goals, ``(B, ...), (G, ...) -> (P, out_features)`` for P pairs of them.

    ``fusion`` "early": the two images of a pair enter one encoder as six channels. "late", and always for states: each
    is encoded once, by the same encoder, and the features of a pair stand side by side.
    """

    def __init__(
        self,
        name: str,
        observation: ObservationSpec,
        statistics: Statistics | None,
        bfloat16: bool = False,
        fusion: str = "early",
    ) -> None:
        super().__init__()
        self.early = observation.kind == "pixels" and fusion == "early"
        self.encoder: ImageEncoder | StateEncoder
        if self.early:
            self.encoder = make_image_encoder(name, 6, observation.image_size, bfloat16)
            self.out_features = self.encoder.out_features
        else:
            self.encoder = make_encoder(name, observation, statistics, bfloat16)
            self.out_features = 2 * self.encoder.out_features

    def forward(self, observations: Tensor, goals: Tensor, pairs: Tensor | None = None) -> Tensor:
        """``pairs (P, 2)``: numbers of an observation and of a goal; None: the first with the first, and so on."""
        if pairs is None:
            if self.early:
                return self.encoder(torch.cat([observations, goals], dim=-1))
            return torch.cat([self.encoder(observations), self.encoder(goals)], dim=-1)
        row, column = pairs.unbind(1)
        if self.early:
            return self.encoder(torch.cat([observations[row], goals[column]], dim=-1))
        used, column = column.unique(return_inverse=True)
        features, goal_features = self.encoder(torch.cat([observations, goals[used]])).split(
            [len(observations), len(used)]
        )
        return torch.cat([features[row], goal_features[column]], dim=-1)


def make_encoder(
    name: str, observation: ObservationSpec, statistics: Statistics | None, bfloat16: bool = False
) -> ImageEncoder | StateEncoder:
    """Encoder of one observation: the named one for images, standardisation for states."""
    if observation.kind == "pixels":
        return make_image_encoder(name, 3, observation.image_size, bfloat16)
    if observation.kind in ("state", "features"):
        return StateEncoder(*(statistics or (torch.zeros(observation.state_dim), torch.ones(observation.state_dim))))
    raise ValueError(f"unknown observation kind {observation.kind!r}: expected 'pixels', 'state' or 'features'")
