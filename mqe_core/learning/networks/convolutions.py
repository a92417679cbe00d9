"""The convolutions of the image encoders, by name in ``networks.ENCODERS``, and how layers begin.

The official ``impala_small``, with Flax's initialisation, and encoders of our own for CPUs and GPUs, with He's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class SameMaxPool(nn.Module):
    """3x3 max-pool of stride 2 with Flax's SAME padding: even sizes are padded at the right and bottom only."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-math.inf), kernel_size=3, stride=2)


class ResidualBlock(nn.Module):
    """relu, conv, relu, conv, add: ``(B, C, H, W) -> (B, C, H, W)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


def impala_convolutions(channels: int, widths: Sequence[int]) -> nn.Sequential:
    """IMPALA stacks (conv, pool, one residual block each); widths 16/32/32 are the official ``impala_small``."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(channels, width, 3, padding=1), SameMaxPool(), ResidualBlock(width)]
        channels = width
    return nn.Sequential(*layers, nn.ReLU()).apply(xavier_init)


class Centre(nn.Module):
    """[0, 1] -> [-2, 2]. On images that are mostly one colour, uncentred inputs made behaviour cloning several times
    slower.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.sub_(0.5).mul_(
            4.0
        )  # in place: on a CPU the memory of a new image batch costs more than the arithmetic


def strided_convolutions(channels: int, widths: Sequence[int]) -> nn.Sequential:
    """Encoder for CPUs: one 3x3 convolution and ReLU per width, the first three of stride 2 (64 -> 8 pixels)."""
    layers: list[nn.Module] = [Centre()]
    for index, width in enumerate(widths):
        layers += [nn.Conv2d(channels, width, 3, stride=2 if index < 3 else 1, padding=1), nn.ReLU(inplace=True)]
        channels = width
    return nn.Sequential(*layers).apply(he_init)


def patch_convolutions(channels: int, widths: Sequence[int]) -> nn.Sequential:
    """Encoder for CPUs without bfloat16: patches of 4x4 pixels, then 3x3 convolutions, the first of stride 2 (64 -> 8
    pixels).
    """
    layers: list[nn.Module] = [Centre()]
    for index, width in enumerate(widths):
        convolution = (
            nn.Conv2d(channels, width, 4, stride=4)
            if index == 0
            else nn.Conv2d(channels, width, 3, stride=3 - min(index, 2), padding=1)
        )
        layers += [convolution, nn.ReLU(inplace=True)]
        channels = width
    return nn.Sequential(*layers).apply(he_init)


def residual_convolutions(channels: int, widths: Sequence[int]) -> nn.Sequential:
    """Encoder for GPUs: per width a convolution of stride 2 and a residual block that begins as the identity, then 64
    channels (128 -> 8 pixels).

    64 keep the dense layer behind them small: a bundle is to stay under 20 MB.
    """
    layers: list[nn.Module] = [Centre()]
    for index, width in enumerate(widths):
        kernel = 5 if index == 0 else 3
        layers += [nn.Conv2d(channels, width, kernel, stride=2, padding=kernel // 2), ResidualBlock(width)]
        channels = width
    network = nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(channels, 64, 1), nn.ReLU()).apply(he_init)
    for layer in network:
        if isinstance(layer, ResidualBlock):
            nn.init.zeros_(layer.second.weight)
    return network


def xavier_init(module: nn.Module) -> None:
    """Xavier-uniform kernels and zero biases for every linear and convolutional layer (use with ``Module.apply``)."""
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def he_init(module: nn.Module) -> None:
    """He-uniform kernels, for ReLU, and zero biases for every convolution (use with ``Module.apply``)."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
