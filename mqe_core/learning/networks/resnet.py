"""Residual networks as image encoders: BridgeData's own, and ImageNet's with weights from a file.

**Bridge's** (``resnet34``, ``resnet18``; fact sheet "BridgeData V2", section 5) is the ResNet v1 of BridgeData V2's
public code: pixels in [-1, 1] beside two coordinate channels, a 7x7 convolution of stride 2, max-pool, four stages of
basic blocks at 64, 128, 256 and 512 channels, GroupNorm of 4 groups, swish, mean over the picture. Convolutions have no
bias, begin as Flax's He normal, and pad as Flax's SAME does: even sizes at the right and bottom only.

**ImageNet's** (``resnet34_imagenet``, ``resnet18_imagenet``) is the usual one in PyTorch: pixels less ImageNet's mean
over its deviation, ReLU, padding on both sides. Its batch norms are in its convolutions, scale and shift, as they stand
when a network answers. So it has no statistics that training would have to keep, and runs faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IMAGENET = "_imagenet"  # the end of their names
GROUPS, EPSILON = 4, 1e-5
STAGES = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}  # basic blocks of each stage
WIDTHS = (64, 128, 256, 512)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB in [0, 1]
_TRUNCATED_STD = 0.87962566103423978  # of a standard normal that is cut at -2 and 2


def same_padding(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """``(B, C, H, W)`` padded as Flax's SAME: what is odd of it at the right and bottom."""
    pads: list[int] = []
    for size in (x.shape[3], x.shape[2]):
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


class SamePadded(nn.Conv2d):
    """A square convolution with Flax's SAME padding."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(same_padding(input, self.kernel_size[0], self.stride[0]))


class SamePool(nn.Module):
    """3x3 max-pool of stride 2 with Flax's SAME padding, of even and odd sizes."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(same_padding(x, 3, 2, -math.inf), kernel_size=3, stride=2)


class Coordinates(nn.Module):
    """Two channels more, ``(B, C, H, W) -> (B, C + 2, H, W)``: the row, then the column, from -1 to 1."""

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (torch.linspace(-1.0, 1.0, n, dtype=x.dtype, device=x.device) for n in x.shape[2:])
        grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
        return torch.cat([x, grid.expand(x.shape[0], -1, -1, -1)], dim=1)


class Scaled(nn.Module):
    """``(x - mean) / std`` per channel; three channels' values serve six, of two pictures, as well."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            repeated = torch.tensor(values).repeat(channels // len(values))[:, None, None]
            self.register_buffer(name, repeated, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class GroupNorm(nn.Module):
    """GroupNorm of ``GROUPS`` groups; its gain and bias have the form ``(C, 1, 1)``, as which they keep their names
    in an exported graph.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            return F.group_norm(x, GROUPS, eps=EPSILON) * self.gain + self.bias
        return F.group_norm(x, GROUPS, self.gain.flatten(), self.bias.flatten(), eps=EPSILON)  # one pass


class GlobalMean(nn.Module):
    """``(B, C, H, W) -> (B, C)``."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class BasicBlock(nn.Module):
    """conv, norm, act, conv, norm, add, act: ``(B, C, H, W) -> (B, out_channels, H / stride, W / stride)``."""

    def __init__(self, channels: int, out_channels: int, stride: int, bridge: bool) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.first = _convolution(channels, out_channels, 3, stride, bridge)
        self.first_norm = _norm(out_channels, bridge)
        self.second = _convolution(out_channels, out_channels, 3, 1, bridge)
        self.second_norm = _norm(out_channels, bridge)
        changes = stride != 1 or channels != out_channels
        self.shortcut = _convolution(channels, out_channels, 1, stride, bridge) if changes else nn.Identity()
        self.shortcut_norm = _norm(out_channels, bridge) if changes else nn.Identity()
        self.act = _act(bridge)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second_norm(self.second(self.act(self.first_norm(self.first(x)))))
        return self.act(self.shortcut_norm(self.shortcut(x)) + y)


def bridge_resnet(channels: int, stages: Sequence[int]) -> nn.Sequential:
    """``(B, channels, H, W)`` in [0, 1] ``-> (B, 512)``, as BridgeData V2 has it."""
    front = [Scaled(channels, [0.5] * channels, [0.5] * channels), Coordinates()]
    network = _resnet(channels + 2, stages, front, bridge=True)
    return network.apply(flax_he_normal)


def imagenet_resnet(channels: int, stages: Sequence[int]) -> nn.Sequential:
    """``(B, channels, H, W)`` in [0, 1] ``-> (B, 512)``, as ImageNet's weights need it; see imagenet_weights.py."""
    return _resnet(channels, stages, [Scaled(channels, IMAGENET_MEAN, IMAGENET_STD)], bridge=False)


def _resnet(channels: int, stages: Sequence[int], front: Sequence[nn.Module], *, bridge: bool) -> nn.Sequential:
    # The first convolution pads alike on both sides in both.
    first = nn.Conv2d(channels, WIDTHS[0], 7, stride=2, padding=3, bias=not bridge)
    pool = SamePool() if bridge else nn.MaxPool2d(3, stride=2, padding=1)
    layers = [*front, first, _norm(WIDTHS[0], bridge), _act(bridge), pool]
    before = WIDTHS[0]
    for stage, (width, blocks) in enumerate(zip(WIDTHS, stages)):
        for number in range(blocks):
            layers.append(BasicBlock(before, width, 2 if stage and not number else 1, bridge))
            before = width
    return nn.Sequential(*layers, GlobalMean())


def _convolution(channels: int, out_channels: int, kernel: int, stride: int, bridge: bool) -> nn.Conv2d:
    if bridge:
        return SamePadded(channels, out_channels, kernel, stride=stride, bias=False)
    return nn.Conv2d(channels, out_channels, kernel, stride=stride, padding=kernel // 2)


def _norm(channels: int, bridge: bool) -> nn.Module:
    return GroupNorm(channels) if bridge else nn.Identity()


def _act(bridge: bool) -> nn.Module:
    return nn.SiLU() if bridge else nn.ReLU()


def flax_he_normal(module: nn.Module) -> None:
    """Flax's ``kaiming_normal`` for every convolution: of variance 2 / fan in, cut at two deviations."""
    if isinstance(module, nn.Conv2d):
        fan_in = module.weight[0].numel()
        std = math.sqrt(2.0 / fan_in) / _TRUNCATED_STD
        nn.init.trunc_normal_(module.weight, std=std, a=-2.0 * std, b=2.0 * std)
