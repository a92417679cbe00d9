"""The critic's loss and gradients equal those of the official implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mqe_core.learning.agents.mqe import critic_loss
from mqe_core.learning.quasimetric import mrn_distance, mrn_distance_matrix

GOLDEN = Path(__file__).parents[2] / "golden" / "mqe_critic"
REPRESENTATIONS = ("phi_sa", "psi_s", "psi_waypoint", "psi_goal")


@pytest.fixture(params=["case0", "case1", "case2"])
def case(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{request.param}.npz") as file:
        return dict(file)


def test_distance_matrix_equals_the_official_one(case: dict[str, np.ndarray]) -> None:
    x, y = torch.from_numpy(case["phi_sa"]), torch.from_numpy(case["psi_goal"])
    components = int(case["components"])
    np.testing.assert_allclose(mrn_distance_matrix(x, y, components), case["distance_sa_goal"], rtol=1e-5)
    np.testing.assert_allclose(mrn_distance(x[:, :, None], y[:, None], components), case["distance_sa_goal"], rtol=1e-5)


def test_critic_loss_and_gradients_equal_the_official_ones(case: dict[str, np.ndarray]) -> None:
    inputs = {name: torch.from_numpy(case[name]).requires_grad_() for name in REPRESENTATIONS}
    loss, metrics = critic_loss(
        **inputs,
        waypoint_steps=torch.from_numpy(case["waypoint_steps"]),
        components=int(case["components"]),
        discount=float(case["discount"]),
        linex_clip=float(case["linex_clip"]),
        diagonal_weight=float(case["diagonal_weight"]),
    )
    loss.backward()
    assert loss.item() == pytest.approx(float(case["critic_loss"]), rel=1e-5)
    for name in ("backup_loss", "action_invariance_loss"):
        assert metrics[name].item() == pytest.approx(float(case[name]), rel=1e-5), name
    assert inputs["psi_waypoint"].grad is None or not inputs["psi_waypoint"].grad.any()
    assert not case["grad_psi_waypoint"].any()
    for name in ("phi_sa", "psi_s", "psi_goal"):
        np.testing.assert_allclose(inputs[name].grad, case[f"grad_{name}"], rtol=1e-4, atol=1e-6, err_msg=name)


def test_golden_cases_reach_both_branches_of_the_backup_loss() -> None:
    fractions = []
    for path in sorted(GOLDEN.glob("case*.npz")):
        with np.load(path) as case:
            x, w, g = (torch.from_numpy(case[name]) for name in ("phi_sa", "psi_waypoint", "psi_goal"))
            components = int(case["components"])
            gap = mrn_distance_matrix(x, g, components) - mrn_distance_matrix(w, g, components)
            fractions.append((gap > float(case["linex_clip"])).float().mean().item())
    assert fractions[0] == 0.0 and all(0.0 < fraction < 1.0 for fraction in fractions[1:])
