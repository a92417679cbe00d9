"""The image encoder of a finished run or of a policy bundle, frozen, for other agents to learn on its features.

Each run on features holds a copy of the encoder, as export puts it in front of the policy.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import nn

from mqe_core.learning.networks.encoders import ENCODERS, ImageEncoder, make_image_encoder
from mqe_core.learning.run.checkpoint import load_checkpoint, save_checkpoint
from mqe_core.policy.bundle import PolicyBundle

ENCODER_FILE = "encoder.pt"  # in a run folder
_BUNDLE_SUFFIX = ".onnx"
# Where an agent has one; the critic's comes first where it has two. An encoder that is steered by the goal (TRA's) is
# none of single images.
_PLACES = ("critic_encoder", "actor.encoder.encoder", "image_encoder")
IN_GRAPH = "policy.agent."  # export's names of weights


@dataclass(frozen=True)
class FrozenEncoder:
    """``encoder`` of single images, put into evaluation mode and off the gradient; ``name`` is its architecture's in
    ``networks.ENCODERS``.
    """

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
    """The encoder of single images that an agent trained from pixels; ValueError, naming the run ``source``, where it
    has none.
    """
    modules = dict(agent.named_modules(remove_duplicate=False))
    for place in _PLACES:
        encoder = modules.get(place)
        if isinstance(encoder, ImageEncoder) and encoder.channels == 3:
            return encoder
    raise ValueError(
        f"{source} has no encoder of single images: train gcbc with actor_fusion=late, or mqe, from pixels"
    )


def encoder_of_bundle(path: str | Path) -> FrozenEncoder:
    """That of a policy bundle, found by the names and shapes of its weights; BundleError for a damaged file, ValueError
    where it has none.
    """
    image_size = PolicyBundle.open(path).contract.image_size
    found = {entry.name: entry for entry in onnx.load(str(path)).graph.initializer}
    shapes = {}
    for name in ENCODERS:
        with torch.device("meta"):  # their weights are not wanted yet
            state = make_image_encoder(name, 3, image_size).state_dict()
        shapes[name] = {key: list(value.shape) for key, value in state.items()}
    for place, name in itertools.product(_PLACES, ENCODERS):
        entries = {key: found.get(f"{IN_GRAPH}{place}.{key}") for key in shapes[name]}
        weights = {
            key: torch.from_numpy(onnx.numpy_helper.to_array(entry).copy())
            for key, entry in entries.items()
            if entry is not None and list(entry.dims) == shapes[name][key]
        }
        if weights.keys() == shapes[name].keys():
            encoder = make_image_encoder(name, 3, image_size)
            encoder.load_state_dict(weights)
            return FrozenEncoder(encoder, name, image_size)
    raise ValueError(
        f"{path} has no encoder of single images: name a bundle that was trained with features_of, or a run folder"
    )
