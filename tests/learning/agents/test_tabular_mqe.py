"""MQE's operators on small decision processes: where the losses' fixed point is exact, what it promises, and what it
needs.

The exact operators are iterated from the behaviour policy's distances until nothing changes:
backup   d((s,a), g) <- -log E[discount^k exp(-d(w, g))], k one step with probability p, else Geom(1 - lambda), stopped
at g
invariance   d(s, g) <- min_a d((s,a), g), d(g, g) = 0
relaxation   the closure of d over states and state-actions under the triangle inequality
A quasimetric has the relaxation built in, and the minimum of the implemented losses is shown to be the first two.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mqe_core.learning.agents.mqe import backup_loss_pairs, critic_loss

STATES, ACTIONS, DISCOUNT = 8, 3, 0.9
SEEDS = range(12)


def random_process(seed: int, deterministic: bool) -> tuple[np.ndarray, np.ndarray]:
    """Transition probabilities ``(S, A, S)`` and a behaviour policy of full support ``(S, A)``."""
    rng = np.random.default_rng(seed)
    if deterministic:
        transition = np.eye(STATES)[rng.integers(STATES, size=(STATES, ACTIONS))]
        transition[:, 0] = np.eye(STATES)[
            (np.arange(STATES) + 1) % STATES
        ]  # a cycle: every state can reach every other
    else:
        transition = rng.dirichlet(np.full(STATES, 0.3), size=(STATES, ACTIONS))
    return transition, rng.dirichlet(np.ones(ACTIONS), size=STATES)


def hitting_values(transition: np.ndarray, policy: np.ndarray) -> np.ndarray:
    """``E[discount^T_g]`` from s to g, ``(S, S)``; ``policy (S, A)``, or ``(S, S, A)`` where it depends on the goal."""
    values = np.eye(STATES)
    for g in range(STATES):
        step = np.einsum("sa,sat->st", policy[:, g] if policy.ndim == 3 else policy, transition)
        others = np.arange(STATES) != g
        system = np.eye(STATES - 1) - DISCOUNT * step[np.ix_(others, others)]
        values[others, g] = np.linalg.solve(system, DISCOUNT * step[others, g])
    return values


def backup(transition, behaviour, state_values, p: float, lambda_: float, stop_at_goal: bool) -> np.ndarray:
    """``E[discount^k exp(-d(w, g))]`` for every (s, a) and g, ``(S, A, S)``; ``state_values = exp(-d(s, g))``."""
    step = np.einsum("sa,sat->st", behaviour, transition)
    arrived = np.empty((STATES, STATES))  # value of standing at s after the first step
    for g in range(STATES):
        # after_step[s] = (1 - lambda) v(s) + lambda E[discount * after_step(s')]: stay as the waypoint, or walk on.
        walk_on = lambda_ * DISCOUNT * step
        stay = (1 - lambda_) * state_values[:, g]
        if stop_at_goal:
            walk_on[g] = 0.0
            stay[g] = state_values[g, g]
        arrived[:, g] = np.linalg.solve(np.eye(STATES) - walk_on, stay)
    return DISCOUNT * np.einsum("sat,tg->sag", transition, p * state_values + (1 - p) * arrived)


def closure(states_to_goal: np.ndarray, pairs_to_goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shortest paths over S and S x A, where s reaches (s, a) at no cost; both returned to states only."""
    nodes = STATES + STATES * ACTIONS
    d = np.full((nodes, nodes), np.inf)
    d[:, :STATES] = np.concatenate([states_to_goal, pairs_to_goal.reshape(-1, STATES)])
    for s in range(STATES):
        d[s, STATES + s * ACTIONS : STATES + (s + 1) * ACTIONS] = 0.0
    np.fill_diagonal(d, 0.0)
    for middle in range(nodes):
        d = np.minimum(d, d[:, middle, None] + d[None, middle])
    return d[:STATES, :STATES], d[STATES:, :STATES].reshape(STATES, ACTIONS, STATES)


def solve(transition, behaviour, p: float, lambda_: float, relax: bool = True, stop_at_goal: bool = True):
    """The fixed point ``d(s, g) (S, S), d((s,a), g) (S, A, S)`` of the operators, started at the behaviour's
    distances.
    """
    states = -np.log(hitting_values(transition, behaviour))
    for _ in range(2000):
        pairs = -np.log(backup(transition, behaviour, np.exp(-states), p, lambda_, stop_at_goal))
        new_states = np.minimum(states, pairs.min(axis=1))
        np.fill_diagonal(new_states, 0.0)
        if relax:
            new_states, pairs = closure(new_states, pairs)
        if np.abs(new_states - states).max() < 1e-13:
            return new_states, pairs
        states = new_states
    raise AssertionError("the operators did not converge")


def optimal_values(transition: np.ndarray) -> np.ndarray:
    """``max over policies E[discount^T_g]``, ``(S, S)``, by value iteration."""
    values = np.eye(STATES)
    for _ in range(1000):
        values = DISCOUNT * np.einsum("sat,tg->sag", transition, values).max(axis=1)
        np.fill_diagonal(values, 1.0)
    return values


def greedy(pairs: np.ndarray) -> np.ndarray:
    """The policy ``argmin_a d((s, a), g)`` as probabilities ``(S, S, A)``."""
    return np.eye(ACTIONS)[pairs.argmin(axis=1)]


WAYPOINTS = [(1.0, 0.5), (0.5, 0.5), (0.2, 0.8), (0.0, 0.8)]


@pytest.mark.parametrize("p, lambda_", WAYPOINTS)
@pytest.mark.parametrize("deterministic", [True, False])
def test_greedy_policy_improves_on_the_behaviour(deterministic: bool, p: float, lambda_: float) -> None:
    gains = []
    for seed in SEEDS:
        transition, behaviour = random_process(seed, deterministic)
        _, pairs = solve(transition, behaviour, p, lambda_)
        gain = hitting_values(transition, greedy(pairs)) - hitting_values(transition, behaviour)
        assert gain.min() >= -1e-12
        gains.append(gain.max())
    assert min(gains) > 0.05, "and strictly so somewhere in every process"


@pytest.mark.parametrize("p, lambda_", WAYPOINTS)
def test_distance_is_the_optimal_one_where_nothing_is_random(p: float, lambda_: float) -> None:
    """d = -log of the optimal value = hops * -log(discount), whatever the waypoints."""
    for seed in SEEDS:
        transition, behaviour = random_process(seed, deterministic=True)
        states, _ = solve(transition, behaviour, p, lambda_)
        np.testing.assert_allclose(states, -np.log(optimal_values(transition)), atol=1e-12)
        hops = states / -math.log(DISCOUNT)
        np.testing.assert_allclose(hops, np.rint(hops), atol=1e-10)


def test_distance_is_never_below_the_optimal_one() -> None:
    for seed in SEEDS:
        transition, behaviour = random_process(seed, deterministic=False)
        optimal = -np.log(optimal_values(transition))
        one_step, _ = solve(transition, behaviour, 1.0, 0.5)
        np.testing.assert_allclose(one_step, optimal, atol=1e-10)
        several, _ = solve(transition, behaviour, 0.2, 0.8)
        assert (several - optimal).min() >= -1e-12


@pytest.mark.parametrize("p, lambda_", WAYPOINTS[1:])
def test_without_path_relaxation_it_gets_worse(p: float, lambda_: float) -> None:
    for seed in SEEDS:
        transition, behaviour = random_process(seed, deterministic=True)
        optimal = -np.log(optimal_values(transition))
        unrelaxed, _ = solve(transition, behaviour, p, lambda_, relax=False)
        assert (unrelaxed - optimal).max() > 0.1  # more than one step too long somewhere; with relaxation it is 0
        assert (unrelaxed - optimal).min() >= -1e-12


def test_waypoints_must_stop_at_the_goal() -> None:
    """Uncapped waypoints overshoot, so distances grow far beyond the optimal ones even where nothing is random."""
    excess = []
    for seed in SEEDS:
        transition, behaviour = random_process(seed, deterministic=True)
        states, _ = solve(transition, behaviour, 0.0, 0.8, relax=False, stop_at_goal=False)
        capped, _ = solve(transition, behaviour, 0.0, 0.8, relax=False)
        excess.append((states - capped).max())
    assert max(excess) > 0.1 and min(excess) >= -1e-12


def test_the_backup_loss_is_stationary_exactly_at_the_operator() -> None:
    """At -log E[discount^k exp(-d')] the expected gradient of the implemented loss is zero; at the mean target it is
    not.
    """
    rng = np.random.default_rng(0)
    steps = torch.from_numpy(rng.integers(1, 20, size=40).astype(np.float64))
    target = torch.from_numpy(rng.uniform(0.0, 2.0, size=(1, 40, 1)))
    exact = -torch.log(torch.mean(DISCOUNT**steps * torch.exp(-target[0, :, 0])))
    mean = torch.mean(target[0, :, 0] - steps * math.log(DISCOUNT))

    def gradient(value: torch.Tensor) -> float:
        distance = value.clone().requires_grad_()
        loss = backup_loss_pairs(distance.expand(1, 40, 1), target, steps, DISCOUNT, linex_clip=50.0).mean()
        return torch.autograd.grad(loss, distance)[0].item()

    assert abs(gradient(exact)) < 1e-12
    assert gradient(mean) > 0.1
    assert gradient(exact - 0.1) < 0 < gradient(exact + 0.1)


def test_gradient_descent_on_a_free_table_finds_the_operator() -> None:
    """Adam on d((s,a), g), with expectations over all waypoints and fixed targets, converges to the backup operator."""
    transition, behaviour = random_process(3, deterministic=False)
    states = -np.log(hitting_values(transition, behaviour))
    expected = -np.log(backup(transition, behaviour, np.exp(-states), p=1.0, lambda_=0.5, stop_at_goal=True))
    weights = torch.from_numpy(transition.reshape(-1, STATES))  # (S*A, S): probability of the next state
    target = torch.from_numpy(states)[None]  # (1, w, g)
    table = torch.zeros(STATES * ACTIONS, STATES, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([table], lr=0.05)
    one_step = torch.ones(STATES, dtype=torch.float64)
    for update in range(1500):
        optimiser.param_groups[0]["lr"] = 0.05 * 0.5 ** (update / 150)
        pairs = backup_loss_pairs(table[:, None, :], target, one_step, DISCOUNT, linex_clip=50.0)  # (S*A, w, g)
        loss = (weights[:, :, None] * pairs).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    np.testing.assert_allclose(table.detach().reshape(STATES, ACTIONS, STATES), expected, atol=1e-3)


def test_pair_loss_equals_the_formula_one_pair_at_a_time() -> None:
    generator = torch.Generator().manual_seed(0)
    distance, target = 8 * torch.rand(2, 4, 4, generator=generator), 8 * torch.rand(2, 4, 4, generator=generator)
    steps = torch.tensor([0.0, 1.0, 7.0, 30.0])
    pairs = backup_loss_pairs(distance, target, steps, 0.98, linex_clip=3.0)
    branches = set()
    for e in range(2):
        for i in range(4):
            for j in range(4):
                difference = float(distance[e, i, j]) - float(target[e, i, j])
                branches.add(difference > 3.0)
                expected = (
                    difference
                    if difference > 3.0
                    else 0.98 ** float(steps[i]) * math.exp(difference) - float(distance[e, i, j])
                )
                assert float(pairs[e, i, j]) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert branches == {True, False}


def test_excess_is_zero_exactly_when_every_pair_is_consistent() -> None:
    """One point everywhere and k = 0: every pair is at its minimum, and the loss does not move anything."""
    point = torch.randn(2, 1, 32, generator=torch.Generator().manual_seed(0)).expand(2, 6, 32).clone().requires_grad_()
    loss, metrics = critic_loss(
        point, point, point, point, torch.zeros(6), components=4, discount=0.99, linex_clip=5.0, diagonal_weight=0.5
    )
    assert metrics["backup_excess"].item() == 0.0
    assert metrics["backup_loss"].item() == pytest.approx(1.0)  # discount^0 * exp(0) - 0
    assert not torch.autograd.grad(loss, point)[0].any()
