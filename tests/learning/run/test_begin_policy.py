"""A run begins with the policy of another run or of a bundle, and answers as that one does."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mqe_core.learning.export.export import export_run
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.run_folder import load_run, read_metadata
from mqe_core.learning.run.train import resume, train
from tests.learning.run.begun import IMAGES, NO_RATE, actions

Config = Callable[..., RunConfig]
KEPT = {"agent": "mqe", "begin_with": "policy", "alpha": 0.0, "q_weight": 0.0}


def test_a_policy_on_features_may_begin_as_the_encoder_s_own(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config
) -> None:
    """With next to no learning rate both answer alike, and so does the action scale: one from features, one from
    images.
    """
    warm, cold, keys = tmp_path / "warm", tmp_path / "cold", {"features_of": str(encoder_run), **NO_RATE}
    config = tiny_config(begin_with="policy", **keys)
    train(writable_store, warm, config, begin_from=encoder_run, progress=False)
    train(writable_store, cold, tiny_config(**keys), progress=False)
    expected = actions(encoder_run)
    torch.testing.assert_close(actions(warm), expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(actions(cold), expected, atol=1e-2)
    (warm / "checkpoints" / "latest.pt").unlink()  # as where it was interrupted before its first checkpoint
    resume(writable_store, warm, config, progress=False)
    torch.testing.assert_close(actions(warm), expected, atol=1e-4, rtol=1e-4)
    metadata, its_metadata = read_metadata(warm), read_metadata(encoder_run)
    assert metadata["action_low"] == its_metadata["action_low"]
    assert metadata["action_high"] == its_metadata["action_high"]


def test_a_policy_may_begin_as_one_that_sees_the_same(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config
) -> None:
    """From pixels or from features; the agent may be another one, as only the policy is taken."""
    features = {"features_of": str(encoder_run)}
    for name, keys in (("pixels", {"observation": "pixels"}), ("features", features)):
        first, second = tmp_path / name, tmp_path / f"{name}_again"
        train(writable_store, first, tiny_config(agent="gcbc", **keys), progress=False)
        config = tiny_config(agent="mqe", begin_with="policy", **keys, **NO_RATE)
        train(writable_store, second, config, begin_from=first, progress=False)
        torch.testing.assert_close(actions(second), actions(first), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("sees", ["pixels", "features"])
def test_the_policy_of_a_bundle_stays_as_it_is_while_a_critic_learns_on_other_data(
    writable_store: Path, other_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, spec, sees: str
) -> None:
    """Bit for bit, its action scale included."""
    keys = {"observation": "pixels"} if sees == "pixels" else {"features_of": str(encoder_run)}
    train(writable_store, tmp_path / "first", tiny_config(agent="mqe", **keys), progress=False)
    bundle = export_run(tmp_path / "first", tmp_path / "first.onnx", spec)
    runs = [tmp_path / "still", tmp_path / "learned"]
    for run_folder, more in zip(runs, (NO_RATE, {"average_decay": 0.9})):
        config = tiny_config(**KEPT, **keys, **more)
        train(other_store, run_folder, config, begin_from=bundle.path, progress=False)
    again = export_run(runs[1], tmp_path / "again.onnx", spec)
    images = [batch.numpy() for batch in IMAGES]
    np.testing.assert_array_equal(again.run(*images)["action"], bundle.run(*images)["action"])
    still, learned = (load_run(run_folder)[0].psi.state_dict() for run_folder in runs)
    assert not any(torch.allclose(still[name], learned[name], atol=1e-6) for name in still)
    assert read_metadata(runs[1])["begin_from"]["data"] == read_metadata(tmp_path / "first")["data"]["fingerprint"]


def test_on_features_a_policy_may_begin_as_the_bundle_of_the_encoder_s_own(
    writable_store: Path, other_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, spec
) -> None:
    for half in (False, True):
        bundle = export_run(encoder_run, tmp_path / f"{half}.onnx", spec, half=half)
        config = tiny_config(features_of=str(bundle.path), **KEPT)
        train(other_store, tmp_path / f"{half}", config, begin_from=bundle.path, progress=False)
        images = [batch.numpy() for batch in IMAGES]
        scale = np.subtract(bundle.contract.action_high, bundle.contract.action_low)
        told = export_run(tmp_path / f"{half}", tmp_path / "told.onnx", spec).run(*images)["action"]
        np.testing.assert_allclose(told / scale, bundle.run(*images)["action"] / scale, atol=2e-3 if half else 1e-4)


@pytest.mark.parametrize("agent", ["gcbc", "gciql", "gcivl", "crl", "cmd", "tmd", "qrl", "mqe"])
def test_each_agent_with_a_plain_policy_gives_it_by_its_bundle(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, spec, agent: str
) -> None:
    keys = {"features_of": str(encoder_run)}
    train(writable_store, tmp_path / "first", tiny_config(agent=agent, **keys), progress=False)
    bundle = export_run(tmp_path / "first", tmp_path / "first.onnx", spec)
    train(writable_store, tmp_path / "second", tiny_config(**KEPT, **keys), begin_from=bundle.path, progress=False)
    torch.testing.assert_close(actions(tmp_path / "second"), actions(tmp_path / "first"), atol=1e-6, rtol=1e-6)


def test_a_bundle_without_a_plain_policy_gives_none(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, spec
) -> None:
    tries = {
        "a plain policy": ({"agent": "tra"}, {}),
        "with a plain policy": ({"agent": "gcbc", "actor": "flow"}, {}),
        "sees each image alone": ({"agent": "gcbc", "encoder": "patch"}, {"features_of": str(encoder_run)}),
    }
    for number, (why, (its, keys)) in enumerate(tries.items()):
        train(writable_store, tmp_path / f"{number}", tiny_config(**its), progress=False)
        bundle = export_run(tmp_path / f"{number}", tmp_path / f"{number}.onnx", spec)
        config = tiny_config(begin_with="policy", **keys)
        with pytest.raises(ValueError, match=why):
            train(writable_store, tmp_path / "run", config, begin_from=bundle.path, progress=False)


def test_a_policy_that_stays_has_to_begin_as_one_and_nothing_else_changes_it(tiny_config: Config) -> None:
    with pytest.raises(ValueError, match="the policy would learn nothing"):
        tiny_config(**{**KEPT, "begin_with": "all"})
    for keys in ({"landmark_weight": 1.0}, {"encoder_shared": True, "actor_fusion": "late"}):
        with pytest.raises(ValueError, match="leave landmark_weight at 0 and encoder_shared at false"):
            tiny_config(**KEPT, **keys)


def test_a_policy_cannot_begin_as_one_of_other_layers(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config
) -> None:
    keys = {"features_of": str(encoder_run), "begin_with": "policy"}
    told = re.escape("encoder has: --set hidden_dims=[16,16] --set actor_layer_norm=false")
    for other in ({"hidden_dims": [16, 24]}, {"hidden_dims": [16]}, {"actor_layer_norm": True}):
        with pytest.raises(ValueError, match=told):
            config = tiny_config(**other, **keys)
            train(writable_store, tmp_path / "run", config, begin_from=encoder_run, progress=False)
    with pytest.raises(ValueError, match="all but tra"):
        config = tiny_config(agent="tra", **keys)
        train(writable_store, tmp_path / "other", config, begin_from=encoder_run, progress=False)
    train(writable_store, tmp_path / "early", tiny_config(agent="gcbc", encoder="patch"), progress=False)
    with pytest.raises(ValueError, match="sees each image alone"):
        train(writable_store, tmp_path / "third", tiny_config(**keys), begin_from=tmp_path / "early", progress=False)


def test_a_policy_on_features_needs_those_that_the_other_saw(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config
) -> None:
    config = tiny_config(agent="gcbc", encoder="patch", actor_fusion="late", seed=1)
    train(writable_store, tmp_path / "another", config, progress=False)
    train(writable_store, tmp_path / "on_it", tiny_config(features_of=str(tmp_path / "another")), progress=False)
    config = tiny_config(features_of=str(encoder_run), begin_with="policy")
    for source in ("another", "on_it"):
        with pytest.raises(ValueError, match="needs features of the encoder that the policy of .* has"):
            train(writable_store, tmp_path / "run", config, begin_from=tmp_path / source, progress=False)


SEES = {"observation": "pixels", "encoder": "patch", "actor_fusion": "late"}


@pytest.mark.parametrize("of", ["run", "bundle", "half"])
def test_the_encoder_on_whose_features_a_policy_learned_goes_on_learning_with_it(
    writable_store: Path, other_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, spec, of: str
) -> None:
    """The policy and its encoder are one network then, which answers alike, and all of it learns on other data."""
    train(writable_store, tmp_path / "first", tiny_config(features_of=str(encoder_run)), progress=False)
    source = tmp_path / "first"
    if of != "run":
        source = export_run(source, tmp_path / "first.onnx", spec, half=of == "half").path
    expected, tolerance = actions(tmp_path / "first"), 2e-3 if of == "half" else 1e-4
    for name, more in (("still", NO_RATE), ("learned", {}), ("with_landmarks", {"landmark_weight": 1.0, **NO_RATE})):
        config = tiny_config(agent="gcbc", begin_with="policy", **SEES, **more)
        train(other_store, tmp_path / name, config, begin_from=source, progress=False)
    for name in ("still", "with_landmarks"):
        torch.testing.assert_close(actions(tmp_path / name), expected, atol=tolerance, rtol=1e-4)
        assert read_metadata(tmp_path / name)["action_low"] == pytest.approx(
            read_metadata(tmp_path / "first")["action_low"]
        )
    still, learned = (load_run(tmp_path / name)[0].actor.encoder.state_dict() for name in ("still", "learned"))
    assert not any(torch.allclose(still[name], learned[name], atol=1e-6, rtol=0.0) for name in still)


@pytest.mark.parametrize("other", [{"encoder": "strided_small"}, {"actor_fusion": "early"}, {"observation": "state"}])
def test_an_encoder_that_is_to_go_on_has_to_be_the_same(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, other: dict[str, str]
) -> None:
    train(writable_store, tmp_path / "first", tiny_config(features_of=str(encoder_run)), progress=False)
    told = "images of 32 pixels: --set observation=pixels --set encoder=patch --set actor_fusion=late"
    with pytest.raises(ValueError, match=told):
        config = tiny_config(agent="gcbc", begin_with="policy", **{**SEES, **other})
        train(writable_store, tmp_path / "second", config, begin_from=tmp_path / "first", progress=False)
