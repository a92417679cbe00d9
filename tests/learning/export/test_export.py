"""A run becomes a bundle that answers as the torch network does; what cannot become one is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from mqe_core.learning.agents import AGENTS
from mqe_core.learning.export import calibration, still_picture
from mqe_core.learning.export.export import export_run, last_metrics
from mqe_core.learning.export.onnx_graph import DeployedPolicy
from mqe_core.learning.export.parity import assert_parity
from mqe_core.learning.rows.observations import ObservationSpec
from mqe_core.learning.run.run_config import keys_for, make_config
from mqe_core.learning.run.run_folder import action_scale, load_run
from mqe_core.learning.run.train import train
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.golden_images import counter_image

torch.set_num_threads(1)
SMALL = {
    "batch_size": 8,
    "latent_dim": 32,
    "components": 2,
    "hidden_dims": [32, 32],
    "encoder": "strided",
    "threads": 1,
    "log_every": 1,
}


@pytest.fixture(scope="module")
def run_folder(synthetic_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    train(synthetic_store, out, make_config({**SMALL, "steps": 3, "observation": "pixels"}), progress=False)
    return out


@pytest.fixture(scope="module")
def policy_file(run_folder: Path, tmp_path_factory: pytest.TempPathFactory, spec) -> Path:
    path = tmp_path_factory.mktemp("export") / "policy.onnx"
    export_run(run_folder, path, spec)
    return path


def deployed(run_folder: Path) -> DeployedPolicy:
    agent, _, metadata = load_run(run_folder)
    scale = action_scale(metadata)
    return DeployedPolicy(agent.policy_module(), torch.from_numpy(scale.low), torch.from_numpy(scale.high)).eval()


def pairs(count: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    images = np.stack([counter_image(size, 100 + i) for i in range(2 * count)])
    return images[:count], images[count:]


def test_the_contract_comes_from_the_run_and_its_data(
    policy_file: Path, run_folder: Path, synthetic_store: Path, spec
) -> None:
    contract = PolicyBundle.open(policy_file, spec).contract
    metadata = json.loads((run_folder / "metadata.json").read_text())
    assert (contract.agent, contract.domain, contract.image_size, contract.control_hz) == (
        "mqe",
        "sim",
        32,
        5.0,
    )
    assert contract.data_fingerprint == metadata["data"]["fingerprint"] and contract.discount == metadata["discount"]
    assert contract.action_low == pytest.approx(metadata["action_low"]) and contract.action_high == pytest.approx(
        metadata["action_high"]
    )
    assert contract.metrics["step"] == 3 and "loss" in contract.metrics
    assert contract.reference is None  # the episodes are noise


def test_what_the_camera_saw_goes_into_the_file(run_folder: Path, tmp_path: Path, spec, monkeypatch) -> None:
    monkeypatch.setattr(still_picture, "_MOST_THAT_MOVES", 1.0)
    contract = export_run(run_folder, tmp_path / "policy.onnx", spec).contract
    assert contract.reference is not None and contract.reference.shape == (32, 32, 3)


def test_actions_come_out_in_physical_units(policy_file: Path, run_folder: Path) -> None:
    """a = low + (normalised + 1) / 2 * (high - low), computed here from the agent's own normalised action."""
    observations, goals = pairs(6)
    agent, _, metadata = load_run(run_folder)
    with torch.no_grad():
        normalised, steps = agent.policy_module()(torch.from_numpy(observations), torch.from_numpy(goals))
    low, high = np.array(metadata["action_low"]), np.array(metadata["action_high"])
    outputs = PolicyBundle.open(policy_file).run(observations, goals)
    np.testing.assert_allclose(outputs["action"], low + (normalised.numpy() + 1) / 2 * (high - low), atol=1e-6)
    np.testing.assert_allclose(outputs["steps_to_goal"], steps.numpy(), rtol=1e-3)


def test_what_thresholds_are_measured_by_is_the_policy_s_distance(run_folder: Path) -> None:
    policy = load_run(run_folder)[0].policy_module()
    observations, goals = (torch.from_numpy(images) for images in pairs(3))
    with torch.no_grad():
        told = policy.steps_to_goals(observations, goals[:2])
        expected = [policy(observations, goal.expand_as(observations))[1] for goal in goals[:2]]
    torch.testing.assert_close(told, torch.stack(expected))


def test_where_they_are_measured_a_frozen_encoder_sees_each_picture_once() -> None:
    seen = []

    class Encoder(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.extend(images)
            return images.float().mean((1, 2))

    config = make_config({**SMALL, "observation": "features"}).agent
    agent = AGENTS["mqe"][0](config, ObservationSpec("state", state_dim=3), 7).eval()
    agent.image_encoder = Encoder()
    observations, goals = (torch.from_numpy(images) for images in pairs(5))
    with torch.no_grad():
        assert agent.policy_module().steps_to_goals(observations, goals[:2]).shape == (2, 5)
    assert len(seen) == 5 + 2


def test_observation_and_goal_are_two_inputs(policy_file: Path) -> None:
    observations, goals = pairs(1)
    bundle = PolicyBundle.open(policy_file)
    both, swapped = bundle.run(observations, goals), bundle.run(goals, observations)
    assert both["steps_to_goal"][0] > 1e-3 and bundle.run(goals, goals)["steps_to_goal"][0] == pytest.approx(
        0.0, abs=1e-3
    )
    assert not np.array_equal(both["action"], swapped["action"])


def test_any_batch_size_works(policy_file: Path) -> None:
    observations, goals = pairs(9)
    bundle = PolicyBundle.open(policy_file)
    whole = bundle.run(observations, goals)
    for count in (1, 4, 9):
        part = bundle.run(observations[:count], goals[:count])
        np.testing.assert_allclose(part["action"], whole["action"][:count], atol=1e-6)


def test_the_graph_is_standard_and_holds_no_traces_of_the_machine(policy_file: Path) -> None:
    model = onnx.load(policy_file)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert not any(node.doc_string or len(node.metadata_props) for node in model.graph.node)
    assert str(Path(__file__).parents[3]).encode() not in policy_file.read_bytes()


@pytest.mark.parametrize("agent", sorted(AGENTS.keys() - {"mqe"}))
def test_every_agent_becomes_a_bundle(synthetic_store: Path, tmp_path: Path, spec, agent: str) -> None:
    """Export itself asserts that onnxruntime answers as torch does; where there is no critic, there is no
    steps_to_goal.
    """
    values = keys_for(agent, {**SMALL, "steps": 2, "observation": "pixels", "agent": agent})
    train(synthetic_store, tmp_path / "run", make_config(values), progress=False)
    bundle = export_run(tmp_path / "run", tmp_path / "policy.onnx", spec)
    assert bundle.contract.agent == agent
    knows_steps = agent not in ("gcbc", "tra", "crl", "cmd")
    assert (bundle.contract.discount is not None) == knows_steps
    assert list(bundle.run(*pairs(3))) == ["action", "steps_to_goal"][: 1 + knows_steps]


@pytest.mark.parametrize("good_enough", [True, False])
def test_thresholds_of_held_out_episodes_reach_the_file(
    synthetic_store: Path, tmp_path: Path, spec, monkeypatch, good_enough: bool
) -> None:
    """Three updates make no critic: whether its threshold counts is set here."""
    monkeypatch.setattr(calibration, "MIN_EPISODES", 3)
    monkeypatch.setattr(calibration, "_MAX_ERRORS", 2.0 if good_enough else -1.0)
    values = {**SMALL, "steps": 3, "observation": "pixels", "validation_fraction": 0.5}
    train(synthetic_store, tmp_path / "run", make_config(values), progress=False)
    export_run(tmp_path / "run", tmp_path / "policy.onnx", spec)
    contract = PolicyBundle.open(tmp_path / "policy.onnx", spec).contract
    if good_enough:
        assert contract.reached_steps >= 0.0 and contract.stall_commands >= 1
    else:
        assert contract.reached_steps is None and contract.stall_commands is None
    assert contract.metrics["calibration/episodes"] == 3.0
    assert -1.0 <= contract.metrics["calibration/rank_correlation"] <= 1.0


def test_thresholds_may_come_from_episodes_apart(synthetic_store: Path, tmp_path: Path, spec, monkeypatch) -> None:
    """All of them count, and the data's own are held out already."""
    from mqe_core.data.episode import Episode
    from mqe_core.data.merge import merge_stores
    from mqe_core.data.store.episode_store import EpisodeStore
    from mqe_core.data.store.episode_writer import EpisodeWriter

    monkeypatch.setattr(calibration, "MIN_EPISODES", 3)
    monkeypatch.setattr(calibration, "_MAX_ERRORS", 2.0)
    train(
        synthetic_store, tmp_path / "run", make_config({**SMALL, "steps": 3, "observation": "pixels"}), progress=False
    )
    store = EpisodeStore.open(synthetic_store)
    for size in (32, 16):
        with EpisodeWriter(
            tmp_path / f"apart{size}", image_size=size, source="test", domain=store.metadata["domain"]
        ) as writer:
            for number in range(4):
                frames = list(store.images(np.arange(12) + 12 * number))
                writer.add(
                    Episode(
                        f"e{number}",
                        store.states[:12] + number + 1.0,
                        np.nan_to_num(store.actions[:11]),
                        {0: frames},
                        (),
                    )
                )
    export_run(tmp_path / "run", tmp_path / "policy.onnx", spec, held_out=tmp_path / "apart32")
    contract = PolicyBundle.open(tmp_path / "policy.onnx", spec).contract
    assert contract.metrics["calibration/episodes"] == 4.0 and contract.reached_steps is not None
    assert contract.data_fingerprint == store.fingerprint
    merge_stores([EpisodeStore.open(tmp_path / "apart32"), store], tmp_path / "both")
    with pytest.raises(ValueError, match=f"shares {store.num_episodes} episodes with the data of this run"):
        export_run(tmp_path / "run", tmp_path / "policy.onnx", spec, held_out=tmp_path / "both")
    with pytest.raises(ValueError, match="leave out one"):
        export_run(
            tmp_path / "run", tmp_path / "policy.onnx", spec, data=synthetic_store, held_out=tmp_path / "apart32"
        )
    with pytest.raises(ValueError, match="image size 16, the run was trained on 32"):
        export_run(tmp_path / "run", tmp_path / "policy.onnx", spec, held_out=tmp_path / "apart16")


def test_parity_fails_for_another_network(policy_file: Path, run_folder: Path) -> None:
    bundle, module, (observations, goals) = PolicyBundle.open(policy_file), deployed(run_folder), pairs(8)
    assert max(assert_parity(module, bundle, observations, goals).values()) < 0.1
    with torch.no_grad():
        module.middle += 0.01 * module.half_range  # one per cent of half the range: five times the tolerance
    with pytest.raises(RuntimeError, match="action error 5.0"):
        assert_parity(module, bundle, observations, goals)
    module = deployed(run_folder)
    with torch.no_grad():
        next(module.policy.agent.psi.parameters()).mul_(1.5)
    with pytest.raises(RuntimeError, match="disagree"):
        assert_parity(module, bundle, observations, goals)


def test_a_state_run_is_refused_with_the_reason(synthetic_store: Path, tmp_path: Path, spec) -> None:
    train(
        synthetic_store,
        tmp_path / "run",
        make_config({**SMALL, "steps": 1, "observation": "state"}),
        progress=False,
    )
    with pytest.raises(ValueError, match="trained on state observations.*--set observation=pixels"):
        export_run(tmp_path / "run", tmp_path / "policy.onnx", spec)
    assert not (tmp_path / "policy.onnx").exists()


def test_simulated_data_do_not_become_a_real_policy(run_folder: Path, tmp_path: Path, spec) -> None:
    with pytest.raises(ValueError, match="images are simulated"):
        export_run(run_folder, tmp_path / "policy.onnx", spec, domain="real")


def test_other_data_than_the_runs_are_refused(run_folder: Path, tmp_path: Path, spec) -> None:
    from mqe_core.data.episode import Episode
    from mqe_core.data.store.episode_writer import EpisodeWriter

    other = tmp_path / "other"
    with EpisodeWriter(other, image_size=32, source="test", domain="sim") as writer:
        frames = [np.zeros((32, 32, 3), np.uint8)] * 3
        writer.add(Episode("e", np.zeros((3, 7)), np.zeros((2, 7)), {0: frames}, ()))
    with pytest.raises(ValueError, match="not the data of this run"):
        export_run(run_folder, tmp_path / "policy.onnx", spec, data=other)


def test_last_metrics_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    table = tmp_path / "metrics.csv"
    table.write_text("step,loss,val\n100,3.5,\n200,2.5,nan\n300,1.5,0.1\n")
    assert last_metrics(table, 250) == {"loss": 2.5}
    assert last_metrics(table, 50) == {} and last_metrics(tmp_path / "none.csv", 1) == {}
