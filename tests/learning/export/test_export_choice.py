"""Promise: a flow and the critic that chooses become one graph, which answers as torch does, the index included, and
bit for bit alike each time.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mqe_core.cli import main
from mqe_core.learning.export.export import export_run
from mqe_core.learning.export.onnx_graph import DeployedPolicy, deployed_policy
from mqe_core.learning.export.parity import assert_parity, choice_of
from mqe_core.learning.networks.choice import choose
from mqe_core.learning.run.run_config import keys_for, make_config
from mqe_core.learning.run.run_folder import action_scale, load_run
from mqe_core.learning.run.train import train
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.golden_images import counter_image

N = 8
SMALL = {
    **{"batch_size": 8, "latent_dim": 32, "components": 2, "hidden_dims": [32, 32], "encoder": "strided"},
    **{"threads": 1, "log_every": 1, "steps": 3, "observation": "pixels", "device": "cpu", "actor": "flow"},
    **{"candidates": N, "flow_steps": 4},
}


@pytest.fixture(scope="module")
def run_folder(synthetic_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    train(synthetic_store, out, make_config(SMALL), progress=False)
    return out


@pytest.fixture(scope="module")
def policy_file(run_folder: Path, tmp_path_factory: pytest.TempPathFactory, spec) -> Path:
    path = tmp_path_factory.mktemp("export") / "policy.onnx"
    export_run(run_folder, path, spec)
    return path


def module_of(run: Path) -> DeployedPolicy:
    agent, _, metadata = load_run(run)
    scale = action_scale(metadata)
    return deployed_policy(agent, torch.from_numpy(scale.low), torch.from_numpy(scale.high))


def pairs(count: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    images = np.stack([counter_image(size, 100 + i) for i in range(2 * count)])
    return images[:count], images[count:]


def test_the_graph_answers_with_all_that_it_chose_from(policy_file: Path, spec) -> None:
    bundle = PolicyBundle.open(policy_file, spec)
    contract = bundle.contract
    assert (contract.candidates, contract.flow_steps, contract.choice_margin) == (N, 4, 0.1)
    assert contract.answer_actions == 1 and contract.chooses
    for count in (1, 5):
        outputs = bundle.run(*pairs(count))
        assert outputs["candidates"].shape == (count, N, 7) and outputs["distances"].shape == (count, N)
        row = np.arange(count)
        np.testing.assert_array_equal(outputs["chosen"], outputs["distances"].argmin(axis=1))
        np.testing.assert_array_equal(outputs["action"], outputs["candidates"][row, outputs["chosen"]])
        assert set(np.unique(outputs["candidates"][..., 6])) <= {0.0, 1.0}
        assert len(np.unique(outputs["candidates"][0], axis=0)) == N


def test_the_index_chosen_last_stays_within_the_margin(policy_file: Path) -> None:
    bundle = PolicyBundle.open(policy_file)
    images = pairs(1)
    distances = bundle.run(*images)["distances"]
    kept = [int(bundle.run(*images, np.array([last]))["chosen"][0]) for last in range(-1, N + 1)]
    assert kept == [int(choice_of(distances, np.array([last]), 0.1)[0]) for last in range(-1, N + 1)]
    assert kept[0] == kept[-1] == distances.argmin()


def test_two_runs_and_two_numbers_of_threads_agree_bit_for_bit(policy_file: Path) -> None:
    images = pairs(4)
    once, again, threaded = (
        bundle.run(*images)
        for bundle in (
            PolicyBundle.open(policy_file),
            PolicyBundle.open(policy_file),
            PolicyBundle.open(policy_file, threads=2),
        )
    )
    for name, values in once.items():
        np.testing.assert_array_equal(values, again[name])
        np.testing.assert_array_equal(values, threaded[name])


def test_parity_covers_choice_candidates_and_distances(policy_file: Path, run_folder: Path) -> None:
    bundle, images = PolicyBundle.open(policy_file), pairs(16)
    worst = assert_parity(module_of(run_folder), bundle, *images)
    assert worst["near_ties"] == 0.0 and max(worst.values()) < 0.2
    assert set(worst) == {"action", "steps_to_goal", "candidates", "distances", "near_ties"}
    module = module_of(run_folder)
    with torch.no_grad():
        module.policy.agent.actor.velocity.head.bias[0] += 0.05
    with pytest.raises(RuntimeError, match="onnxruntime and torch disagree.*candidates error"):
        assert_parity(module, bundle, *images)
    module = module_of(run_folder)
    with torch.no_grad():
        module.policy.agent.phi.head.weight.mul_(1.05)
    with pytest.raises(RuntimeError, match="disagree.*distances error"):
        assert_parity(module, bundle, *images)


def test_a_graph_that_chooses_otherwise_is_no_near_tie(policy_file: Path, run_folder: Path) -> None:
    class Farthest(PolicyBundle):
        def run(self, *inputs):
            outputs = super().run(*inputs)
            return {**outputs, "chosen": outputs["distances"].argmax(axis=1)}

    bundle = PolicyBundle.open(policy_file)
    bundle.__class__ = Farthest
    with pytest.raises(RuntimeError, match="does not choose by its own distances"):
        assert_parity(module_of(run_folder), bundle, *pairs(4))


def test_the_plain_form_of_the_choice_is_torchs() -> None:
    rng = np.random.default_rng(0)
    distances = rng.integers(0, 4, (500, 5)).astype(np.float32) / 2  # with ties, and exactly on the margin
    last = rng.integers(-2, 7, 500)
    given, before = torch.from_numpy(distances), torch.from_numpy(last)
    choice = choose(torch.zeros(500, 5, 7), given, before, 0.5, torch.zeros(500))
    np.testing.assert_array_equal(choice.chosen.numpy(), choice_of(distances, last, 0.5))


def test_gcbc_has_no_critic_that_chooses(synthetic_store: Path, tmp_path: Path, spec) -> None:
    """One answer, as of a Gaussian; the contract still says how it is made."""
    train(synthetic_store, tmp_path / "run", make_config(keys_for("gcbc", {**SMALL, "agent": "gcbc"})), progress=False)
    bundle = export_run(tmp_path / "run", tmp_path / "policy.onnx", spec)
    assert bundle.contract.candidates == 1 and bundle.contract.flow_steps == 4 and bundle.outputs == ["action"]


def test_other_numbers_of_candidates_and_steps_at_export(synthetic_store: Path, tmp_path: Path, capsys) -> None:
    """Of a finished run, and of the other agent whose critic chooses."""
    run, out = tmp_path / "run", tmp_path / "policy.onnx"
    train(synthetic_store, run, make_config(keys_for("gciql", {**SMALL, "agent": "gciql"})), progress=False)
    for option, value, reason in (
        ("--candidates", "65", "candidates must lie in 1 to 64, got 65"),
        ("--candidates", "0", "candidates must lie in 1 to 64, got 0"),
        ("--flow-steps", "11", "flow_steps must lie in 1 to 10, got 11"),
        ("--flow-steps", "0", "flow_steps must lie in 1 to 10, got 0"),
    ):
        assert main(["export", str(run), "--out", str(out), option, value]) == 1
        assert reason in capsys.readouterr().err
    assert main(["export", str(run), "--out", str(out), "--candidates", "3", "--flow-steps", "2"]) == 0
    capsys.readouterr()
    assert main(["inspect", str(out), "--robot", "widowx250s", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["candidates"], report["flow_steps"], report["answer_actions"], report["schema"]) == (3, 2, 1, 2)
    assert report["outputs"] == ["action", "steps_to_goal", "chosen", "candidates", "distances"]


@pytest.mark.parametrize(
    ("agent", "actor", "reason"),
    [
        ("gcbc", "flow", "gcbc has no critic that could choose among candidates"),
        ("gcbc", "gaussian", "gcbc has no critic that could choose among candidates"),
        ("mqe", "gaussian", "this run of mqe makes no candidates, so candidates would change nothing"),
        ("hiql", "gaussian", "this run of hiql makes no candidates, so candidates would change nothing"),
    ],
)
def test_a_run_with_nothing_to_choose_takes_no_candidates(
    agent: str, actor: str, reason: str, synthetic_store: Path, tmp_path: Path, capsys
) -> None:
    keys = keys_for(agent, {**SMALL, "agent": agent, "actor": actor})
    train(synthetic_store, tmp_path / "run", make_config(keys), progress=False)
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "p.onnx"), "--candidates", "8"]) == 1
    assert reason in capsys.readouterr().err and not (tmp_path / "p.onnx").exists()
