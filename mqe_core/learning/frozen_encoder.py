"""The image encoder of a finished run or of a policy bundle, frozen, for other agents to learn on its features.

Each run on features holds a copy of the encoder, as export puts it in front of the policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import nn

from mqe_core.bundle import PolicyBundle
from mqe_core.learning.checkpoint import load_checkpoint, save_checkpoint
from mqe_core.learning.networks import ENCODERS, ImageEncoder, make_image_encoder

ENCODER_FILE = "encoder.pt"  # in a run folder
_BUNDLE_SUFFIX = ".onnx"
_CRITIC = "critic_encoder"  # the attribute whose encoder comes first where an agent has two


@dataclass(frozen=True)
class FrozenEncoder:
    """``encoder`` of single images, put into evaluation mode and off the gradient; ``name`` is its architecture's in ``networks.ENCODERS``."""

    encoder: ImageEncoder
    name: str
    image_size: int

    def __post_init__(self) -> None:
        self.encoder.eval().requires_grad_(False)

    def save(self, run: Path) -> None:
        """Write it into a run folder."""
        weights = self.encoder.state_dict()
        save_checkpoint(run / ENCODER_FILE, {"name": self.name, "image_size": self.image_size, "weights": weights})

    @classmethod
    def load(cls, run: Path) -> FrozenEncoder:
        """That of a run folder which was trained on its features."""
        saved = load_checkpoint(run / ENCODER_FILE)
        encoder = make_image_encoder(saved["name"], 3, saved["image_size"])
        encoder.load_state_dict(saved["weights"])
        return cls(encoder, saved["name"], saved["image_size"])


def is_bundle(source: str) -> bool:
    """Whether ``source`` names a policy bundle, and no run folder."""
    return source.endswith(_BUNDLE_SUFFIX)


def encoder_of_agent(agent: nn.Module, source: str | Path) -> ImageEncoder:
    """The encoder of single images that an agent trained from pixels; ValueError, naming the run ``source``, where it has none."""
    candidates = [getattr(agent, _CRITIC, None), getattr(getattr(getattr(agent, "actor", None), "encoder", None), "encoder", None)]
    for encoder in candidates:
        if isinstance(encoder, ImageEncoder) and encoder.channels == 3:
            return encoder
    raise ValueError(f"{source} has no encoder of single images: train gcbc with actor_fusion=late, or mqe, from pixels")


def encoder_of_bundle(path: str | Path) -> FrozenEncoder:
    """That of a policy bundle, found by the names and shapes of its weights; BundleError for a damaged file, ValueError where it has none."""
    image_size = PolicyBundle.open(path).contract.image_size
    found = {entry.name: entry for entry in onnx.load(str(path)).graph.initializer}
    for name in ENCODERS:
        encoder = make_image_encoder(name, 3, image_size)
        shapes = {key: list(value.shape) for key, value in encoder.state_dict().items()}
        anchor = next(iter(shapes))
        prefixes = [entry.removesuffix(anchor) for entry in found if entry.endswith(f".{anchor}")]
        for prefix in sorted(prefixes, key=lambda prefix: not prefix.endswith(f"{_CRITIC}.")):
            if all(prefix + key in found and list(found[prefix + key].dims) == shape for key, shape in shapes.items()):
                weights = {key: torch.from_numpy(onnx.numpy_helper.to_array(found[prefix + key]).copy()) for key in shapes}
                encoder.load_state_dict(weights)
                return FrozenEncoder(encoder, name, image_size)
    raise ValueError(f"{path} has no encoder of single images: name a bundle that was trained with features_of, or a run folder")
