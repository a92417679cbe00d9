"""With encoder_shared critic and policy see through one encoder: both losses train it, and a bundle holds it once."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.export.export import export_run
from mqe_core.learning.networks.encoders import ImageEncoder
from mqe_core.learning.rows.frozen_encoder import encoder_of_agent, encoder_of_bundle
from mqe_core.learning.rows.observations import ObservationSpec
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.run_folder import load_run
from mqe_core.learning.run.train import resume, train
from mqe_core.learning.run.trainer import Trainer

Config = Callable[..., RunConfig]
FUSIONS = {"mqe": "late", "tmd": "late", "cmd": "late", "qrl": "late", "gciql": "early", "gcivl": "early"}


def keys(agent: str) -> dict[str, object]:
    return {"agent": agent, "encoder_shared": True, "actor_fusion": FUSIONS[agent], "encoder": "patch"}


def make_agent(config: RunConfig, kind: str = "pixels") -> nn.Module:
    observation = ObservationSpec(kind, image_size=32, state_dim=0 if kind == "pixels" else 4)
    return AGENTS[config.train.agent][0](config.agent, observation, 7)


@pytest.mark.parametrize("agent", FUSIONS)
def test_there_is_one_encoder(tiny_config: Config, agent: str) -> None:
    shared, apart = (make_agent(tiny_config(**{**keys(agent), "encoder_shared": flag})) for flag in (True, False))
    learned = [{e for e in each.modules() if isinstance(e, ImageEncoder)} for each in (shared, apart)]
    copies = 1 if agent in ("gciql", "gcivl") else 0  # that follow
    assert len(learned[0]) == 1 + copies and len(learned[1]) > 1 + copies


@pytest.mark.parametrize("agent", FUSIONS)
def test_both_losses_train_it(synthetic_store: Path, tiny_config: Config, agent: str) -> None:
    """Cloning weighs more, and the encoder gets another gradient: the policy's reaches it as well."""
    gradients = []
    for alpha in (1.0, 2.0):
        trainer = Trainer(EpisodeStore.open(synthetic_store), tiny_config(alpha=alpha, **keys(agent)), progress=False)
        trainer.agent.loss(trainer.data.sample(trainer.rng, trainer.agent.frames))[0].backward()
        encoder = next(m for m in trainer.agent.actor.modules() if isinstance(m, ImageEncoder))
        gradient = encoder.dense.weight.grad
        assert gradient is not None
        gradients.append(gradient)
    assert not torch.allclose(*gradients)


@pytest.mark.parametrize("agent", ["mqe", "gciql"])
def test_runs_resume_and_export_with_the_mean_of_their_weights(
    writable_store: Path, tmp_path: Path, tiny_config: Config, agent: str, spec
) -> None:
    config = lambda steps: tiny_config(steps=steps, average_decay=0.9, actor_learning_rate=1e-3, **keys(agent))
    train(writable_store, tmp_path / "whole", config(4), progress=False)
    train(writable_store, tmp_path / "parts", config(2), progress=False)
    resume(writable_store, tmp_path / "parts", config(4), progress=False)
    assert (tmp_path / "whole" / "metrics.csv").read_bytes() == (tmp_path / "parts" / "metrics.csv").read_bytes()

    bundle = tmp_path / "policy.onnx"
    export_run(tmp_path / "whole", bundle, spec)  # asserts parity
    trained = load_run(tmp_path / "whole")[0]
    one = sum(p.numel() for p in next(m for m in trained.modules() if isinstance(m, ImageEncoder)).parameters())
    numbers = [math.prod(entry.dims) for entry in onnx.load(bundle).graph.initializer]
    assert one < sum(numbers) < 2 * one
    convolutions = [node for node in onnx.load(bundle).graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 3 * (2 if agent == "mqe" else 1)  # of a picture each, or of both at once
    if agent == "mqe":
        expected = encoder_of_agent(trained, "run").state_dict()
        torch.testing.assert_close(encoder_of_bundle(bundle).encoder.state_dict(), expected, rtol=0.0, atol=0.0)


def test_evaluation_sees_the_mean_under_both_names(synthetic_store: Path, tiny_config: Config) -> None:
    trainer = Trainer(EpisodeStore.open(synthetic_store), tiny_config(average_decay=0.9, **keys("mqe")), progress=False)
    for _ in range(3):
        trainer.update()
    weights = trainer.policy_weights()
    first, second = weights["critic_encoder.dense.weight"], weights["actor.encoder.encoder.dense.weight"]
    assert torch.equal(first, second) and not torch.equal(first, trainer.agent.critic_encoder.dense.weight)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"agent": "mqe", "actor_fusion": "early"}, "needs actor_fusion: late"),
        ({"agent": "gcivl", "actor_fusion": "late"}, "needs actor_fusion: early"),
        ({"agent": "crl"}, "this agent does not"),
        ({"agent": "hiql"}, "this agent does not"),
        ({"agent": "tmd", "actor_sees_psi": True}, "no encoder of its own"),
    ],
)
def test_what_cannot_share_is_refused(tiny_config: Config, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_agent(tiny_config(encoder_shared=True, **changes))


def test_it_changes_nothing_where_no_picture_is_seen(tiny_config: Config) -> None:
    agent = make_agent(tiny_config(encoder_shared=True, agent="mqe"), "state")
    assert agent.actor.encoder.encoder is agent.critic_encoder
