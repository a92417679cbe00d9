"""Bridge's ResNet answers as the public Flax encoder does, and serves wherever an image encoder does."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mqe_core.learning.export.export import export_run
from mqe_core.learning.networks import encoders
from mqe_core.learning.networks.encoders import FilmedEncoder, ImageEncoder, make_image_encoder
from mqe_core.learning.networks.resnet import BasicBlock, GroupNorm, bridge_resnet, same_padding
from mqe_core.learning.rows.frozen_encoder import encoder_of_agent, encoder_of_bundle
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.run_folder import load_run
from mqe_core.learning.run.train import resume, train

GOLDEN = Path(__file__).parents[2] / "golden" / "encoders" / "resnet_bridge.npz"
CASES = {  # name: (encoder, image size, channels, numbers of the condition)
    "early": ("resnet34", 64, 6, 0),
    "single": ("resnet34", 128, 3, 0),
    "odd": ("resnet34", 75, 3, 0),
    "film": ("resnet34", 64, 3, 5),
    "small": ("resnet18", 64, 6, 0),
}
Config = Callable[..., RunConfig]


def drawn(path: str, shape: tuple[int, ...]) -> np.ndarray:
    """The parameter of that Flax path, as README.md beside the file says."""
    uniform = np.random.default_rng(zlib.crc32(path.encode())).random(shape) * 2 - 1
    if path.endswith("scale"):
        return 1 + 0.3 * uniform
    return 0.3 * uniform if path.endswith("bias") else uniform * math.sqrt(6 / math.prod(shape[:-1]))


def layers(encoder: ImageEncoder) -> dict[str, tuple[nn.Conv2d, GroupNorm]]:
    """Every convolution with the norm behind it, by the Flax paths of both."""
    first, norm = encoder.convolutions[2], encoder.convolutions[3]
    assert isinstance(first, nn.Conv2d) and isinstance(norm, GroupNorm)
    found: dict[str, tuple[nn.Conv2d, GroupNorm]] = {"conv_init norm_init": (first, norm)}
    for number, block in enumerate(layer for layer in encoder.convolutions if isinstance(layer, BasicBlock)):
        name = f"ResNetBlock_{number}"
        found[f"{name}/Conv_0 {name}/MyGroupNorm_0"] = (block.first, block.first_norm)
        found[f"{name}/Conv_1 {name}/MyGroupNorm_1"] = (block.second, block.second_norm)
        if isinstance(block.shortcut, nn.Conv2d):
            found[f"{name}/conv_proj {name}/norm_proj"] = (block.shortcut, block.shortcut_norm)
    return found


def fill(encoder: ImageEncoder, filmed: FilmedEncoder | None) -> dict[str, nn.Parameter]:
    """Draw all parameters; those whose gradient the file has, by their Flax paths."""
    parameters = {}
    for names, (convolution, norm) in layers(encoder).items():
        kernel, gain = (f"{names.split()[0]}/kernel", names.split()[1])
        out, channels, height, width = convolution.weight.shape
        values = torch.from_numpy(drawn(kernel, (height, width, channels, out))).permute(3, 2, 0, 1)
        convolution.weight.data.copy_(values)
        norm.gain.data.copy_(torch.from_numpy(drawn(f"{gain}/scale", (out,)))[:, None, None])
        norm.bias.data.copy_(torch.from_numpy(drawn(f"{gain}/bias", (out,)))[:, None, None])
        parameters |= {kernel: convolution.weight, f"{gain}/scale": norm.gain, f"{gain}/bias": norm.bias}
    for number, film in enumerate(filmed.films if filmed else []):
        out, inputs = film.weight.shape
        dense = [f"FilmConditioning_{number}/Dense_{index}" for index in range(2)]  # scale, shift
        kernels = [drawn(f"{name}/kernel", (inputs, out // 2)) for name in dense]
        film.weight.data.copy_(torch.from_numpy(np.concatenate(kernels, axis=1).T))
        biases = [drawn(f"{name}/bias", (out // 2,)) for name in dense]
        film.bias.data.copy_(torch.from_numpy(np.concatenate(biases)))
    return parameters


@pytest.mark.parametrize("case", CASES)
def test_it_answers_as_the_public_flax_encoder(case: str) -> None:
    name, size, channels, condition = CASES[case]
    golden = np.load(GOLDEN)
    encoder = make_image_encoder(name, channels, size)
    filmed = FilmedEncoder(encoder, condition) if condition else None
    parameters = fill(encoder, filmed)
    images = torch.from_numpy(np.random.default_rng(7).integers(0, 256, (2, size, size, channels), dtype=np.uint8))
    if filmed is not None:
        vector = np.random.default_rng(8).random((2, condition)).astype(np.float32) * 2 - 1
        answer = filmed(images, torch.from_numpy(vector))
    else:
        answer = encoder(images)
    assert answer.shape == (2, 512) and answer.dtype == torch.float32
    within(answer.detach(), golden[f"{case}/answer"], 1e-4)

    (answer * torch.from_numpy(np.random.default_rng(9).random((2, 512)).astype(np.float32))).sum().backward()
    gradients = [key for key in golden if key.startswith(f"{case}/grad/")]
    assert gradients
    for key in gradients:
        gradient = parameters[key.removeprefix(f"{case}/grad/")].grad
        assert gradient is not None
        within(gradient.flatten(), golden[key], 1e-3)
    gradient = parameters["conv_init/kernel"].grad
    assert gradient is not None
    assert float(gradient.norm()) == pytest.approx(float(golden[f"{case}/grad_norm/conv_init/kernel"]), rel=1e-3)


def within(got: Tensor, expected: np.ndarray, share: float) -> None:
    """To a share of the largest entry."""
    assert np.abs(got.numpy() - expected).max() <= share * np.abs(expected).max()


def test_it_begins_as_flax_does() -> None:
    """Cut at two deviations of the normal that is drawn, and of variance 2 / fan in after the cut."""
    for convolution, _ in layers(make_image_encoder("resnet18", 3, 32)).values():
        scaled = convolution.weight.detach() * math.sqrt(convolution.weight[0].numel() / 2)
        assert convolution.bias is None
        assert float(scaled.std()) == pytest.approx(1.0, abs=0.03)
        assert 2.2 < float(scaled.abs().max()) <= 2.0 / 0.8796


@pytest.mark.parametrize("size, kernel, stride, expected", [(8, 3, 2, (0, 1)), (7, 3, 2, (1, 1)), (8, 3, 1, (1, 1))])
def test_same_padding_puts_what_is_odd_at_the_end(
    size: int, kernel: int, stride: int, expected: tuple[int, int]
) -> None:
    padded = same_padding(torch.ones(1, 1, size, size), kernel, stride)[0, 0, size // 2]
    begin, end = expected
    assert padded.tolist() == [0.0] * begin + [1.0] * size + [0.0] * end


def test_coordinates_are_row_then_column() -> None:
    encoder = make_image_encoder("resnet18", 3, 32)
    rows, columns = encoder.convolutions[1](torch.zeros(1, 3, 3, 5))[0, 3:]
    assert rows[:, 0].tolist() == [-1.0, 0.0, 1.0] and columns[0].tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]


@pytest.fixture()
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """resnet18 with two stages of a block each: what the whole one has, in seconds."""
    monkeypatch.setitem(encoders.ENCODERS, "resnet18", (bridge_resnet, (1, 1), 0, False))


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("agent", ["mqe", "tra"])
def test_it_trains_resumes_and_goes_into_a_bundle(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, agent: str, spec
) -> None:
    keys = {"agent": agent, "encoder": "resnet18", "batch_size": 4}
    train(synthetic_store, tmp_path / "whole", tiny_config(steps=2, **keys), progress=False)
    train(synthetic_store, tmp_path / "parts", tiny_config(steps=1, **keys), progress=False)
    resume(synthetic_store, tmp_path / "parts", tiny_config(steps=2, **keys), progress=False)
    assert (tmp_path / "whole" / "metrics.csv").read_bytes() == (tmp_path / "parts" / "metrics.csv").read_bytes()
    export_run(tmp_path / "whole", tmp_path / "policy.onnx", spec)  # asserts parity


@pytest.mark.usefixtures("short")
def test_others_learn_on_its_features_from_a_bundle(
    writable_store: Path, tmp_path: Path, tiny_config: Config, spec
) -> None:
    run, bundle = tmp_path / "encoder", tmp_path / "encoder.onnx"
    keys = {"agent": "gcbc", "encoder": "resnet18", "batch_size": 4, "actor_fusion": "late"}
    train(writable_store, run, tiny_config(steps=1, **keys), progress=False)
    export_run(run, bundle, spec)
    expected, found = encoder_of_agent(load_run(run)[0], run).state_dict(), encoder_of_bundle(bundle)
    assert found.name == "resnet18"
    torch.testing.assert_close(found.encoder.state_dict(), expected, rtol=0.0, atol=0.0)
    train(writable_store, tmp_path / "run", tiny_config(steps=1, features_of=str(bundle)), progress=False)
    assert load_run(tmp_path / "run")[2]["observation"]["state_dim"] == 128
