"""How a run begins: the encoder that makes its observations, and its first weights.

A run begins at random, or from another run: with all of its weights, or with those of its policy alone
(`begin_policy.py`). In both cases it keeps that run's action scale, as it is part of what the weights mean.
"""

from __future__ import annotations

from pathlib import Path

from mqe_core.data.frames import Frames
from mqe_core.learning.networks.actor import Agent
from mqe_core.learning.networks.encoders import ImageEncoder
from mqe_core.learning.networks.imagenet_weights import load_imagenet
from mqe_core.learning.ranks.ranks import ALONE, Ranks
from mqe_core.learning.rows.frozen_encoder import FrozenEncoder, encoder_of_agent, encoder_of_bundle, is_bundle
from mqe_core.learning.run.begin_policy import FROZEN, policy_of, same_weights, take_policy
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.run_folder import action_scale, load_run
from mqe_core.learning.run.trainer import Trainer


def begin(
    store: Frames,
    config: RunConfig,
    encoder: ImageEncoder | None,
    source: Path | None,
    progress: bool,
    ranks: Ranks = ALONE,
) -> Trainer:
    """A trainer before its first update; ``config.train.begin_with`` says what it takes from ``source``: a run, or for
    a policy alone a bundle.

    ``encoder``: the frozen one of ``features_of``. ValueError where ``source`` is neither, or its networks are others.
    """
    if source is None:
        if config.train.begin_with != "all":
            raise ValueError(f"begin_with: {config.train.begin_with} begins from something: give --begin-from RUN")
        trainer = Trainer(store, config, progress, encoder=encoder, ranks=ranks)
        load_imagenet(trainer.agent, config.agent.encoder, config.train.encoder_weights)
        trainer.restart_average()
        return trainer
    if config.train.begin_with == "policy":
        policy = policy_of(source)
        trainer = Trainer(store, config, progress, scale=policy.scale, encoder=encoder, ranks=ranks)
        load_imagenet(trainer.agent, config.agent.encoder, config.train.encoder_weights)
        take_policy(trainer.agent, policy, encoder)
    elif is_bundle(str(source)):
        raise ValueError(
            f"--begin-from {source}: a bundle holds what its policy needs, and not all of a run: give "
            "--set begin_with=policy, or a run folder"
        )
    else:
        agent, its_config, metadata = load_run(source)
        trainer = Trainer(store, config, progress, scale=action_scale(metadata), encoder=encoder, ranks=ranks)
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
    if frozen is not None and (encoder is None or not same_weights(encoder.state_dict(), frozen.state_dict())):
        raise ValueError(f"{source} learned on features of another encoder: give the features_of that it was given")
    weights = {name: value for name, value in source_agent.state_dict().items() if not name.startswith(FROZEN)}
    try:
        agent.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"the networks of {source} are others than these ({error}); give it the same configuration"
        ) from error
