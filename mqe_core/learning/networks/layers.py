"""Networks: an ensemble of MLPs with stacked weights, convolutional encoders for uint8 images, and the Gaussian actor.

Initialisation and layer order follow the official Flax code: Xavier-uniform kernels with zero biases, tanh-approximated
GELU, LayerNorm (eps 1e-6) after the activation. Images enter as uint8 ``(B, H, W, C)`` and are scaled inside the
network, so that the exported policy takes what a camera gives.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mqe_core.learning.networks.convolutions import (
    impala_convolutions,
    patch_convolutions,
    residual_convolutions,
    strided_convolutions,
    xavier_init,
)
from mqe_core.learning.rows.observations import ObservationSpec, Statistics


def gelu(x: Tensor) -> Tensor:
    """Flax's default GELU, the tanh approximation."""
    return F.gelu(x, approximate="tanh")


class EnsembleLinear(nn.Module):
    """E independent linear layers as one batched product, ``(E, B, in) -> (E, B, out)``."""

    def __init__(self, members: int, in_features: int, out_features: int) -> None:
        super().__init__()
        bound = math.sqrt(6.0 / (in_features + out_features))  # Xavier uniform, per member
        self.weight = nn.Parameter(torch.empty(members, in_features, out_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(members, 1, out_features))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class EnsembleLayerNorm(nn.Module):
    """LayerNorm over the last axis with its own gain and bias per member, ``(E, B, D) -> (E, B, D)``."""

    def __init__(self, members: int, features: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(members, 1, features))
        self.bias = nn.Parameter(torch.zeros(members, 1, features))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, F.layer_norm(x, x.shape[-1:], eps=1e-6), self.gain)


class EnsembleMLP(nn.Module):
    """E independent MLPs, ``(B, in) -> (E, B, out)``: (linear, GELU, LayerNorm) per hidden layer, then a plain linear
    layer. Without ``layer_norm`` the LayerNorm is left out.
    """

    def __init__(
        self,
        members: int,
        in_features: int,
        hidden_dims: Sequence[int],
        out_features: int,
        layer_norm: bool = True,
    ) -> None:
        super().__init__()
        self.members = members
        widths = [in_features, *hidden_dims]
        self.hidden = nn.ModuleList(EnsembleLinear(members, a, b) for a, b in zip(widths[:-1], widths[1:]))
        self.norms = nn.ModuleList(EnsembleLayerNorm(members, b) if layer_norm else nn.Identity() for b in widths[1:])
        self.head = EnsembleLinear(members, widths[-1], out_features)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(0).expand(self.members, -1, -1)  # (E, B, in)
        for linear, norm in zip(self.hidden, self.norms):
            x = norm(gelu(linear(x)))
        return self.head(x)

    def of_candidates(self, shared: Tensor, own: Tensor) -> Tensor:
        """``(B, S), (B, N, C) -> (E, B, N, out)``: as of ``shared`` beside each of N ``own``, with the first layer's
        share of what they have in common computed once.
        """
        first, width = self.hidden[0], shared.shape[-1]
        assert isinstance(first, EnsembleLinear)
        common = torch.baddbmm(first.bias, shared.expand(self.members, -1, -1), first.weight[:, :width])  # (E, B, H)
        x = torch.matmul(own, first.weight[:, None, width:]) + common[:, :, None]  # (E, B, N, H)
        x = self.norms[0](gelu(x.flatten(1, 2)))
        for linear, norm in zip(self.hidden[1:], self.norms[1:]):
            x = norm(gelu(linear(x)))
        return self.head(x).unflatten(1, own.shape[:2])


class MeanActor(nn.Module):
    """Mean of the unit-variance Gaussian policy, ``(B, in) -> (B, A)``, not squashed: GELU after each hidden layer,
    then LayerNorm if asked for.
    """

    def __init__(self, in_features: int, hidden_dims: Sequence[int], action_dim: int, layer_norm: bool = False) -> None:
        super().__init__()
        widths = [in_features, *hidden_dims]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:]))
        self.norms = nn.ModuleList(nn.LayerNorm(b) if layer_norm else nn.Identity() for b in widths[1:])
        self.head = nn.Linear(widths[-1], action_dim)
        self.apply(xavier_init)
        with torch.no_grad():
            self.head.weight.mul_(0.1)  # variance scale 1e-2, so the first actions are near the middle of the range

    def forward(self, x: Tensor) -> Tensor:
        for linear, norm in zip(self.hidden, self.norms):
            x = norm(gelu(linear(x)))
        return self.head(x)

    def shared(self, features: Tensor) -> Tensor:
        """``(B, S) -> (B, H)``: the first layer's share of the first S of its inputs, bias included."""
        first = self.hidden[0]
        assert isinstance(first, nn.Linear)
        return F.linear(features, first.weight[:, : features.shape[-1]], first.bias)

    def of_candidates(self, shared: Tensor, own: Tensor) -> Tensor:
        """``(B, H), (B, N, C) -> (B, N, A)``: as of the features behind ``shared`` beside each of N ``own``."""
        first = self.hidden[0]
        assert isinstance(first, nn.Linear)
        x = shared[:, None] + F.linear(own, first.weight[:, first.in_features - own.shape[-1] :])
        x = self.norms[0](gelu(x))
        for linear, norm in zip(self.hidden[1:], self.norms[1:]):
            x = norm(gelu(linear(x)))
        return self.head(x)


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
    float32``.

    With ``bfloat16`` the encoder (nothing else) computes in bfloat16 while training, where the processor has it: one
    without emulates it, ten times slower than float32. In evaluation mode it is always float32.
    """

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
        self.dense = nn.Linear(flat, out_features)
        self.norm = nn.LayerNorm(out_features) if layer_norm else nn.Identity()
        self.out_features = out_features
        xavier_init(self.dense)
        # NHWC memory: what the input already has after the permute, and the faster layout for narrow convolutions.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a form that torch's types leave out

    def forward(self, images: Tensor, films: Sequence[Tensor] = ()) -> Tensor:
        """``films``: scale and shift ``(B, 2 * channels)`` after each outer convolution, or none; see FilmedEncoder."""
        if self.in_bfloat16 and self.training and has_bfloat16(images.device.type):
            with torch.autocast(images.device.type, dtype=torch.bfloat16):
                return self._encode(images, films).to(torch.float32)
        return self._encode(images, films)

    def _encode(self, images: Tensor, films: Sequence[Tensor]) -> Tensor:
        x = images.permute(0, 3, 1, 2).to(torch.float32, copy=True).div_(255.0)  # (B, C, H, W), NHWC strides
        waiting = list(films)
        for layer in self.convolutions:
            x = layer(x)
            if waiting and isinstance(layer, nn.Conv2d):
                scale, shift = waiting.pop(0).to(x.dtype)[:, :, None, None].chunk(2, dim=1)
                x = x * (1.0 + scale) + shift
        return gelu(self.norm(self.dense(x.flatten(1))))


class FilmedEncoder(nn.Module):
    """An image encoder steered by a vector: FiLM, ``x * (1 + scale) + shift`` per channel after each of its outer
    convolutions.

    ``(B, H, W, C) uint8, (B, D) -> (B, out_features)``. Scale and shift are linear in the vector and begin at zero.
    """

    def __init__(self, encoder: ImageEncoder, condition_features: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.out_features = encoder.out_features
        convolutions = [layer for layer in encoder.convolutions if isinstance(layer, nn.Conv2d)]
        films = [nn.Linear(condition_features, 2 * layer.out_channels) for layer in convolutions]
        for film in films:
            nn.init.zeros_(film.weight)
            nn.init.zeros_(film.bias)
        self.films = nn.ModuleList(films)

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        return self.encoder(images, [film(condition) for film in self.films])


ENCODERS = {  # name: (convolutions, widths, features after the dense layer, LayerNorm there)
    "impala_small": (impala_convolutions, (16, 32, 32), 512, False),
    "patch": (patch_convolutions, (64, 64, 64), 256, True),
    "residual": (residual_convolutions, (32, 64, 96, 128), 384, True),
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
