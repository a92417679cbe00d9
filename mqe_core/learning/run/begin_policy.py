"""The policy of a finished run or of a bundle, as another run begins with it (key `begin_with: policy`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from mqe_core.learning.networks.actor import Agent, GoalActor
from mqe_core.learning.networks.encoders import ImageEncoder, StateEncoder
from mqe_core.learning.rows.actions import ActionScale
from mqe_core.learning.rows.frozen_encoder import IN_GRAPH, FrozenEncoder, encoder_of_bundle, is_bundle
from mqe_core.learning.run.run_folder import action_scale, load_run
from mqe_core.policy.bundle import PolicyBundle

Weights = Mapping[str, Tensor]

_NONE = (
    "begin_with: policy needs an agent, and in {} one, with a plain policy of observation and goal: all but tra, hiql "
    "and nsacbc, with actor: gaussian"
)
FROZEN = "image_encoder."  # among an agent's weights, those of the encoder on whose features it learned
_ENCODER, _NETWORK = "actor.encoder.", "actor.head.network."
_OWN = "encoder."  # of the images or features, in a policy's encoder of pairs
_BOTH = 6  # channels of two pictures


@dataclass(frozen=True)
class SourcePolicy:
    """The weights of a policy by name, and what they mean.

    Args:
        source: the run or bundle, for people.
        scale: which actions its -1 and 1 are.
        network: of what makes an action of features.
        encoder: of what sees both pictures, or both features.
        frozen: the image encoder on whose features it learned; None: it saw pixels or states.
    """

    source: Path
    scale: ActionScale
    network: Weights
    encoder: Weights
    frozen: FrozenEncoder | None

    @property
    def early(self) -> bool:
        """Whether it sees both pictures as one."""
        return any(weights.ndim == 4 and weights.shape[1] == _BOTH for weights in self.encoder.values())

    @property
    def features_of(self) -> Weights:
        """The image encoder whose features it sees: its own, or the frozen one."""
        return self.frozen.encoder.state_dict() if self.frozen else _under(_OWN, self.encoder)


def policy_of(source: Path) -> SourcePolicy:
    """ValueError where it is neither a run nor a bundle, or has no plain policy."""
    return _of_bundle(source) if is_bundle(str(source)) else _of_run(source)


def _of_run(source: Path) -> SourcePolicy:
    agent, _, metadata = load_run(source)
    if not isinstance(getattr(agent, "actor", None), GoalActor):
        raise ValueError(_NONE.format(source))
    frozen = FrozenEncoder.load(source) if agent.image_encoder is not None else None
    return _found(source, action_scale(metadata), agent.state_dict(), frozen)


def _of_bundle(source: Path) -> SourcePolicy:
    """Its weights keep their names in the graph; BundleError for a damaged file."""
    contract = PolicyBundle.open(source).contract
    entries = {entry.name: onnx.numpy_helper.to_array(entry) for entry in onnx.load(str(source)).graph.initializer}
    ours = {
        name: torch.from_numpy(array.astype(np.float32)) for name, array in entries.items() if name.startswith(IN_GRAPH)
    }
    low, high = (np.asarray(limits, dtype=np.float32) for limits in (contract.action_low, contract.action_high))
    weights = _under(IN_GRAPH, ours)
    frozen = encoder_of_bundle(source) if _under(FROZEN, weights) else None
    policy = _found(source, ActionScale(low, high), weights, frozen)
    if "head.weight" not in policy.network or not policy.encoder:
        raise ValueError(_NONE.format(source))
    return policy


def _found(source: Path, scale: ActionScale, weights: Weights, frozen: FrozenEncoder | None) -> SourcePolicy:
    network, encoder = (_under(place, weights) for place in (_NETWORK, _ENCODER))
    return SourcePolicy(source, scale, network, encoder, frozen)


def take_policy(agent: Agent, source: SourcePolicy, encoder: ImageEncoder | None) -> None:
    """Let the policy of ``agent`` answer as ``source`` does; ValueError where it cannot.

    Both policies see the same; or one sees pixels and the other the features of the same encoder: of this one
    (``encoder``), which the other trained, or of the other's, which this one goes on training.
    """
    policy, where = getattr(agent, "actor", None), source.source
    if not isinstance(policy, GoalActor):
        raise ValueError(_NONE.format(where))
    here = policy.head.network.state_dict()
    weights = dict(source.network)
    on_its_features = encoder is not None and source.frozen is None
    if on_its_features and source.early:
        raise ValueError(
            f"begin_with: policy on features needs a policy that sees each image alone: train {where} with "
            "actor_fusion=late"
        )
    if encoder is not None and not same_weights(encoder.state_dict(), source.features_of):
        raise ValueError(f"begin_with: policy needs features of the encoder that the policy of {where} has")
    its_layers = _layers(weights)
    if its_layers != _layers(here):
        raise ValueError(f"begin_with: policy needs the layers that the policy of {where} has: --set {its_layers}")
    for name in ("head.weight", "head.bias"):  # rows of the action stand first, landmarks after them
        weights[name] = torch.cat([weights[name][: len(here[name])], here[name][len(weights[name]) :].cpu()])
    try:
        if on_its_features:
            _undo_standardisation(weights, policy.encoder.encoder)
        elif encoder is None and source.frozen is not None:
            _take_encoder(policy, source.frozen, where)
            _standardise(weights, source.encoder)
        else:
            policy.encoder.load_state_dict(source.encoder)
        policy.head.network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"begin_with: policy needs a policy that sees what that of {where} sees ({error})") from error


def _take_encoder(policy: GoalActor, frozen: FrozenEncoder, where: Path) -> None:
    """Let the policy see pixels as ``frozen`` does; ValueError where its own encoder is another one."""
    own, weights = policy.encoder.encoder, frozen.encoder.state_dict()
    its = {name: value.shape for name, value in own.state_dict().items()}
    if not isinstance(own, ImageEncoder) or its != {name: value.shape for name, value in weights.items()}:
        raise ValueError(
            f"begin_with: policy needs the encoder that the policy of {where} has, and images of {frozen.image_size} "
            f"pixels: --set observation=pixels --set encoder={frozen.name} --set actor_fusion=late"
        )
    own.load_state_dict(weights)


def _layers(network: Weights) -> str:
    """The keys that make the layers of a policy as these are."""
    widths: list[int] = []
    while (weights := network.get(f"hidden.{len(widths)}.weight")) is not None:
        widths.append(len(weights))
    normed = any(name.startswith("norms.") for name in network)
    return f"hidden_dims=[{','.join(map(str, widths))}] --set actor_layer_norm={str(normed).lower()}"


def _undo_standardisation(weights: dict[str, Tensor], encoder: nn.Module) -> None:
    """Let the first layer of ``weights``, which was trained on features as they are, take what ``encoder`` makes of
    them: features of observation and goal side by side, standardised.
    """
    assert isinstance(encoder, StateEncoder), "features enter an agent as states do"
    first = weights["hidden.0.weight"]
    mean, std = (values.repeat(2).to(first) for values in (encoder.mean, encoder.std))
    weights["hidden.0.bias"] = weights["hidden.0.bias"] + first @ mean
    weights["hidden.0.weight"] = first * std


def _standardise(weights: dict[str, Tensor], encoder: Weights) -> None:
    """The other way round: let the first layer, trained on what ``encoder`` makes of features, take them as they
    are.
    """
    mean, std = (encoder[_OWN + name].repeat(2) for name in ("mean", "std"))
    first = weights["hidden.0.weight"] / std
    weights["hidden.0.bias"] = weights["hidden.0.bias"] - first @ mean
    weights["hidden.0.weight"] = first


def same_weights(a: Weights, b: Weights) -> bool:
    """Whether two encoders are one."""
    return a.keys() == b.keys() and all(torch.equal(a[name].cpu(), b[name].cpu()) for name in a)


def _under(place: str, weights: Weights) -> Weights:
    """Those at that place of a module, by their names there."""
    return {name.removeprefix(place): weights[name] for name in weights if name.startswith(place)}
