"""An encoder begins with ImageNet's weights from a file, as the network that the file was made for answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mqe_core.learning.networks.encoders import make_image_encoder
from mqe_core.learning.networks.imagenet_weights import load_imagenet
from mqe_core.learning.networks.resnet import IMAGENET_MEAN, IMAGENET_STD
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.run_folder import load_run
from mqe_core.learning.run.train import train

Config = Callable[..., RunConfig]
NAME = "resnet18_imagenet"


class Block(nn.Module):
    """The block of torchvision's layout, with its batch norms."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.downsample = shortcut if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Plain(nn.Module):
    """resnet18 in torchvision's layout: the names of its state dictionary are that file's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        widths = (64, 64, 128, 256, 512)
        for stage, (before, width) in enumerate(zip(widths, widths[1:]), 1):
            blocks = Block(before, width, 1 if stage == 1 else 2), Block(width, width, 1)
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(512, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return x.mean((2, 3))


@pytest.fixture(scope="module")
def plain() -> Plain:
    """With statistics of its own, as after training."""
    torch.manual_seed(0)
    network = Plain().eval()
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.2)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.1)
    return network


@pytest.fixture()
def file(plain: Plain, tmp_path: Path) -> Path:
    """Its state dictionary."""
    torch.save(plain.state_dict(), tmp_path / "resnet18.pth")
    return tmp_path / "resnet18.pth"


@pytest.mark.parametrize("size", [32, 75])
def test_it_answers_as_the_network_of_the_file(plain: Plain, file: Path, size: int) -> None:
    encoder = make_image_encoder(NAME, 3, size)
    load_imagenet(encoder, NAME, str(file))
    images = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        expected = plain((images.permute(0, 3, 1, 2) / 255.0 - mean) / std)
        torch.testing.assert_close(encoder(images), expected, rtol=1e-4, atol=1e-4)


def test_two_pictures_alike_are_seen_as_one(file: Path) -> None:
    single, both = make_image_encoder(NAME, 3, 32), make_image_encoder(NAME, 6, 32)
    for encoder in (single, both):
        load_imagenet(encoder, NAME, str(file))
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(both(torch.cat([images, images], dim=-1)), single(images), rtol=1e-4, atol=1e-4)


def test_every_encoder_of_a_run_begins_so(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, file: Path
) -> None:
    keys = {"encoder": NAME, "encoder_weights": str(file), "average_decay": 0.9, "learning_rate": 1e-12}
    train(synthetic_store, tmp_path / "run", tiny_config(steps=1, batch_size=4, **keys), progress=False)
    file.unlink()  # a run holds its weights itself
    agent = load_run(tmp_path / "run")[0]
    first = agent.critic_encoder.convolutions[1].weight
    torch.testing.assert_close(agent.actor.encoder.encoder.convolutions[1].weight, first.repeat(1, 2, 1, 1) / 2)


def broken(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        state = torch.load(path)
        changed = change(state)
        torch.save(changed if isinstance(changed, list) else state, path)

    return write


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda path: path.unlink(), "there is no file"),
        (lambda path: path.write_bytes(b"no weights"), "cannot be read as weights"),
        (broken(lambda state: [1, 2]), "holds no tensors by name"),
        (broken(lambda state: state.pop("layer2.0.downsample.0.weight")), r"found nothing"),
        (broken(lambda state: state.update({"layer5.0.conv1.weight": torch.zeros(1)})), "expected nothing"),
        (
            broken(lambda state: state.update({"conv1.weight": torch.zeros(64, 4, 7, 7)})),
            r"conv1.weight: expected \(64, 3, 7, 7\), found \(64, 4, 7, 7\)",
        ),
        (broken(lambda state: state["bn1.running_var"].fill_(torch.nan)), "holds NaN or infinity"),
    ],
)
def test_a_file_of_something_else_is_refused_before_the_first_update(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, file: Path, damage: Callable, message: str
) -> None:
    damage(file)
    with pytest.raises(ValueError, match=message):
        train(synthetic_store, tmp_path / "run", tiny_config(encoder=NAME, encoder_weights=str(file)), progress=False)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_the_keys_belong_together(synthetic_store: Path, tmp_path: Path, tiny_config: Config, file: Path) -> None:
    with pytest.raises(ValueError, match="set encoder to resnet34_imagenet or resnet18_imagenet"):
        tiny_config(encoder="resnet18", encoder_weights=str(file))
    with pytest.raises(ValueError, match="name their file as encoder_weights"):
        train(synthetic_store, tmp_path / "run", tiny_config(encoder=NAME), progress=False)
