"""ImageNet's weights from a local file, for encoders named ``..._imagenet``.

The file is a state dictionary in torchvision's layout for ``resnet34`` or ``resnet18`` (``conv1.weight``,
``layer1.0.bn1.running_mean``, ...), read with ``weights_only``. The layer of classes (``fc``) is left out. Batch norms
go into the convolutions, as they stand when a network answers: by their running statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mqe_core.learning.networks.encoders import ImageEncoder
from mqe_core.learning.networks.resnet import IMAGENET, STAGES, BasicBlock

_EPSILON = 1e-5  # of torchvision's batch norms
_REMEDY = "give a file of torchvision's weights for {name}, such as `torch.save(model.state_dict(), FILE)` writes"


def require_their_encoder(path: str, name: str) -> None:
    """ValueError where a file of weights is named, and the encoder ``name`` is none that begins with them."""
    if path and not name.endswith(IMAGENET):
        raise ValueError(
            f"encoder_weights is of encoders that begin with ImageNet's weights, not of {name}: set encoder to "
            f"resnet34{IMAGENET} or resnet18{IMAGENET}"
        )


def load_imagenet(agent: nn.Module, name: str, path: str) -> None:
    """Begin all encoders of ``agent`` with the weights in the file.

    ``name``: the encoder's in ``ENCODERS``. An encoder of six channels begins with half of the weights for each of the
    two pictures. ValueError where no file is named, and where it is none, or of another network.
    """
    encoders = [module for module in agent.modules() if isinstance(module, ImageEncoder)]
    if not encoders or not name.endswith(IMAGENET):
        return
    if not path:
        raise ValueError(f"encoder: {name} begins with weights of ImageNet: name their file as encoder_weights")
    weights = read_weights(Path(path), name)
    with torch.no_grad():
        for encoder in encoders:
            _fill(encoder, weights)


def read_weights(path: Path, name: str) -> dict[str, Tensor]:
    """Folded weights and biases by torchvision's names of the convolutions; ValueError where the file does not hold
    exactly those of ``name``.
    """
    architecture = name.removesuffix(IMAGENET)
    remedy = _REMEDY.format(name=architecture)
    if not path.is_file():
        raise ValueError(f"encoder_weights: there is no file {path}; {remedy}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a damaged file
        raise ValueError(f"encoder_weights: {path} cannot be read as weights ({error}); {remedy}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"encoder_weights: {path} holds no tensors by name; {remedy}")
    found = {key: tuple(value.shape) for key, value in state.items() if _is_wanted(key)}
    expected = _shapes(architecture)
    wrong = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    if wrong:
        key = wrong[0]
        raise ValueError(
            f"encoder_weights: {path} does not fit {architecture}: {len(wrong)} tensors are others, the first is "
            f"{key}: expected {_said(expected.get(key))}, found {_said(found.get(key))}; {remedy}"
        )
    if not all(state[key].isfinite().all() for key in found):
        raise ValueError(f"encoder_weights: {path} holds NaN or infinity; {remedy}")
    folded: dict[str, Tensor] = {}
    for convolution, norm in _names(architecture):
        kernel = state[f"{convolution}.weight"].float()
        gain, bias, mean, variance = (
            state[f"{norm}.{what}"].float() for what in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gain / (variance + _EPSILON).sqrt()
        folded[f"{convolution}.weight"] = kernel * scale[:, None, None, None]
        folded[f"{convolution}.bias"] = bias - mean * scale
    return folded


def _fill(encoder: ImageEncoder, weights: Mapping[str, Tensor]) -> None:
    blocks = [layer for layer in encoder.convolutions if isinstance(layer, BasicBlock)]
    first = next(layer for layer in encoder.convolutions if isinstance(layer, nn.Conv2d))
    convolutions = {"conv1": first}
    numbers = [(stage, number) for stage, count in enumerate(_stages_of(blocks), 1) for number in range(count)]
    for (stage, number), block in zip(numbers, blocks, strict=True):
        place = f"layer{stage}.{number}"
        convolutions |= {f"{place}.conv1": block.first, f"{place}.conv2": block.second}
        if isinstance(block.shortcut, nn.Conv2d):
            convolutions[f"{place}.downsample.0"] = block.shortcut
    for name, convolution in convolutions.items():
        kernel = weights[f"{name}.weight"]
        pictures = convolution.in_channels // kernel.shape[1]
        convolution.weight.copy_(kernel.repeat(1, pictures, 1, 1) / pictures)
        assert convolution.bias is not None, "batch norms are in the biases"
        convolution.bias.copy_(weights[f"{name}.bias"])


def _stages_of(blocks: list[BasicBlock]) -> tuple[int, ...]:
    return next(stages for stages in STAGES.values() if sum(stages) == len(blocks))


def _names(architecture: str) -> list[tuple[str, str]]:
    """Every convolution with its batch norm, by torchvision's names."""
    pairs = [("conv1", "bn1")]
    for stage, count in enumerate(STAGES[architecture], 1):
        for number in range(count):
            place = f"layer{stage}.{number}"
            pairs += [(f"{place}.conv{k}", f"{place}.bn{k}") for k in (1, 2)]
            if stage > 1 and number == 0:
                pairs.append((f"{place}.downsample.0", f"{place}.downsample.1"))
    return pairs


def _shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    """What a file must hold."""
    shapes: dict[str, tuple[int, ...]] = {}
    for convolution, norm in _names(architecture):
        shape = _kernel(convolution)
        shapes[f"{convolution}.weight"] = shape
        shapes |= {f"{norm}.{what}": shape[:1] for what in ("weight", "bias", "running_mean", "running_var")}
    return shapes


def _kernel(convolution: str) -> tuple[int, ...]:
    if convolution == "conv1":
        return (64, 3, 7, 7)
    stage, number = (int(part) for part in convolution.removeprefix("layer").split(".")[:2])
    width = 64 * 2 ** (stage - 1)
    before = width // 2 if stage > 1 and number == 0 else width
    if "downsample" in convolution:
        return (width, before, 1, 1)
    return (width, before if convolution.endswith("conv1") else width, 3, 3)


def _is_wanted(key: str) -> bool:
    return not key.startswith("fc.") and not key.endswith("num_batches_tracked")


def _said(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else str(shape)
