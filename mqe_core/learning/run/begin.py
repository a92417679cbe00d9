"""How a run begins: the encoder that makes its observations, and its first weights.

A run begins at random, or from another run: with all of its weights, or with those of its policy alone. In both cases
it keeps that run's action scale, as it is part of what the weights mean.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mqe_core.data.frames import Frames
from mqe_core.learning.networks.actor import Agent, GoalActor
from mqe_core.learning.networks.encoders import ImageEncoder, StateEncoder
from mqe_core.learning.networks.imagenet_weights import load_imagenet
from mqe_core.learning.ranks.ranks import ALONE, Ranks
from mqe_core.learning.rows.frozen_encoder import FrozenEncoder, encoder_of_agent, encoder_of_bundle, is_bundle
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.run_folder import action_scale, load_run
from mqe_core.learning.run.trainer import Trainer

_FROZEN = "image_encoder."  # where an agent that was read keeps it, among its weights


def begin(
    store: Frames,
    config: RunConfig,
    encoder: ImageEncoder | None,
    source: Path | None,
    progress: bool,
    ranks: Ranks = ALONE,
) -> Trainer:
    """A trainer before its first update; ``config.train.begin_with`` says what it takes from the run ``source``.

    ``encoder``: the frozen one of ``features_of``. ValueError where ``source`` is no run, or its networks are others.
    """
    if source is None:
        if config.train.begin_with != "all":
            raise ValueError(f"begin_with: {config.train.begin_with} needs a run to begin from: give --begin-from RUN")
        trainer = Trainer(store, config, progress, encoder=encoder, ranks=ranks)
        load_imagenet(trainer.agent, config.agent.encoder, config.train.encoder_weights)
        trainer.restart_average()
        return trainer
    if is_bundle(str(source)):
        raise ValueError(f"--begin-from {source}: a run begins from a run folder, not from a bundle made of one")
    agent, its_config, metadata = load_run(source)
    trainer = Trainer(store, config, progress, scale=action_scale(metadata), encoder=encoder, ranks=ranks)
    if config.train.begin_with == "policy":
        load_imagenet(trainer.agent, config.agent.encoder, config.train.encoder_weights)
        _take_policy(trainer.agent, agent, encoder, source)
    else:
        its_name, name = its_config.train.agent, config.train.agent
        if its_name != name:
            raise ValueError(f"{source} holds {its_name}, not {name}; give --agent {its_name}, or begin_with: policy")
        _take_weights(trainer.agent, agent, encoder, source)
    trainer.restart_average()
    return trainer


def frozen_encoder(config: RunConfig, store: Frames, out: Path) -> ImageEncoder | None:
    """The encoder of ``features_of``, copied into the run folder ``out``; None where the configuration names none.

    ValueError where none is named though ``observation`` is features, where it is none of single images, or where it
    is for images of another size.
    """
    source = config.train.features_of
    if not source and config.train.observation == "features":
        raise ValueError(
            "this learns on the features of an encoder: --set features_of=FILE names the policy (.onnx) or run whose "
            "encoder it is, such as the shipped policy; to learn from pixels: --config sim_pixels"
        )
    if not source:
        return None
    frozen = encoder_of_bundle(source) if is_bundle(source) else _encoder_of_run(source)
    size = frozen.image_size
    if size != store.image_size:
        raise ValueError(
            f"the encoder of {source} takes images of {size} pixels, the data has {store.image_size}: import with "
            f"--image-size {size}"
        )
    frozen.save(out)
    return frozen.encoder


def _encoder_of_run(source: str) -> FrozenEncoder:
    """ValueError where the run was not trained from pixels, or has no encoder of single images."""
    agent, config, metadata = load_run(source)
    if metadata["observation"]["kind"] != "pixels":
        raise ValueError(f"{source} was not trained from pixels: features_of needs the run that trained the encoder")
    return FrozenEncoder(encoder_of_agent(agent, source), config.agent.encoder, metadata["observation"]["image_size"])


def _take_weights(agent: Agent, source_agent: Agent, encoder: ImageEncoder | None, source: Path) -> None:
    """All of them; ValueError where the networks differ, or the features (of ``encoder``) that they were trained on.

    A frozen encoder is a run's own: it stands in what was read of ``source``, and not among what is trained.
    """
    frozen = source_agent.image_encoder
    if frozen is not None and (encoder is None or not _same_weights(encoder, frozen)):
        raise ValueError(f"{source} learned on features of another encoder: give the features_of that it was given")
    weights = {name: value for name, value in source_agent.state_dict().items() if not name.startswith(_FROZEN)}
    try:
        agent.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"the networks of {source} are others than these ({error}); give it the same configuration"
        ) from error


def _take_policy(agent: Agent, source_agent: Agent, encoder: ImageEncoder | None, source: Path) -> None:
    """Let the policy of ``agent`` answer as that of ``source_agent`` does; ValueError where it cannot.

    Both policies see the same; or this one sees the features (of ``encoder``) that the other's own encoder makes.
    """
    policy, its_policy = (getattr(one, "actor", None) for one in (agent, source_agent))
    if not isinstance(policy, GoalActor) or not isinstance(its_policy, GoalActor):
        raise ValueError(
            f"begin_with: policy needs an agent, and in {source} one, with a plain policy of observation and goal: "
            "all but tra, hiql and nsacbc, with actor: gaussian"
        )
    weights = dict(its_policy.head.network.state_dict())
    outputs = policy.head.network.head.out_features  # those of the action stand first, landmarks after them
    weights["head.weight"], weights["head.bias"] = weights["head.weight"][:outputs], weights["head.bias"][:outputs]
    on_its_features = encoder is not None and source_agent.image_encoder is None
    if on_its_features and its_policy.encoder.early:
        raise ValueError(
            f"begin_with: policy on features needs a policy that sees each image alone: train {source} with "
            "actor_fusion=late"
        )
    if encoder is not None:
        its_encoder = its_policy.encoder.encoder if on_its_features else source_agent.image_encoder
        if not _same_weights(encoder, its_encoder):
            raise ValueError(f"begin_with: policy needs features of the encoder that the policy of {source} has")
    try:
        if on_its_features:
            _undo_standardisation(weights, policy.encoder.encoder)
        else:
            policy.encoder.load_state_dict(its_policy.encoder.state_dict())
        policy.head.network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"begin_with: policy needs the policy's layers as {source} has them ({error})") from error


def _undo_standardisation(weights: dict[str, Tensor], encoder: nn.Module) -> None:
    """Let the first layer of ``weights``, which was trained on features as they are, take what ``encoder`` makes of
    them: features of observation and goal side by side, standardised.
    """
    assert isinstance(encoder, StateEncoder), "features enter an agent as states do"
    first = weights["hidden.0.weight"]
    mean, std = (values.repeat(2).to(first) for values in (encoder.mean, encoder.std))
    weights["hidden.0.bias"] = weights["hidden.0.bias"] + first @ mean
    weights["hidden.0.weight"] = first * std


def _same_weights(a: nn.Module, b: nn.Module | None) -> bool:
    first, second = a.state_dict(), {} if b is None else b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name].cpu(), second[name].cpu()) for name in first)
