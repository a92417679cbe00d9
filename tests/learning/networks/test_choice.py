"""Promise: the least distance wins, the index chosen last is kept within the margin, and only there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mqe_core.learning.agents import AGENTS
from mqe_core.learning.networks.choice import Choice, choose
from mqe_core.learning.rows.observations import ObservationSpec
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.policy.contract import NONE_CHOSEN

CANDIDATES = torch.arange(6.0).reshape(1, 3, 2)


def chosen(distances: list[float], last: int | None, margin: float = 0.5) -> int:
    given = None if last is None else torch.tensor([last])
    choice = choose(CANDIDATES, torch.tensor([distances]), given, margin, torch.zeros(1))
    index = int(choice.chosen)
    assert torch.equal(choice.action[0], CANDIDATES[0, index])
    return index


@pytest.mark.parametrize(
    ("distances", "last", "expected"),
    [
        ([3.0, 1.0, 2.0], None, 1),
        ([3.0, 1.0, 2.0], NONE_CHOSEN, 1),
        ([1.0, 1.0, 1.0], NONE_CHOSEN, 0),  # the first of several
        ([3.0, 1.0, 1.25], 2, 2),  # within the margin
        ([3.0, 1.0, 1.5], 2, 2),  # on it
        ([3.0, 1.0, 1.75], 2, 1),  # beyond it
        ([3.0, 1.0, 0.5], 1, 1),
        ([3.0, 1.0, 2.0], 3, 1),  # no candidate's index
        ([3.0, 1.0, 2.0], -7, 1),
    ],
)
def test_least_wins_with_a_margin(distances: list[float], last: int | None, expected: int) -> None:
    assert chosen(distances, last) == expected


def test_a_near_tie_does_not_flicker() -> None:
    """Two candidates whose distances cross at every step, by less than the margin; then by more."""
    generator, last, changes = torch.Generator().manual_seed(0), NONE_CHOSEN, 0
    for _ in range(200):
        noise = 0.2 * torch.rand(3, generator=generator)
        now = chosen((torch.tensor([1.0, 1.0, 3.0]) + noise).tolist(), last)
        changes += last not in (NONE_CHOSEN, now)
        last = now
    assert changes == 0
    assert chosen([2.0, 1.0, 3.0], 0) == 1


def test_rows_of_a_batch_are_chosen_each_for_itself() -> None:
    distances = torch.tensor([[3.0, 1.0, 1.25], [3.0, 1.0, 1.25], [0.0, 5.0, 5.0]])
    choice = choose(CANDIDATES.expand(3, -1, -1), distances, torch.tensor([2, NONE_CHOSEN, 1]), 0.5, torch.zeros(3))
    assert choice.chosen.tolist() == [2, 1, 0]
    assert torch.equal(choice.action, CANDIDATES[0, choice.chosen])


@pytest.mark.parametrize("name", ["mqe", "gciql"])
def test_the_critic_chooses_as_if_it_were_asked_one_by_one(tiny_config: Callable[..., RunConfig], name: str) -> None:
    """max over the ensemble of d((s, a), g), or the steps of the smaller Q; the unshared way is the slow one here."""
    torch.manual_seed(0)
    config = tiny_config(agent=name, actor="flow", candidates=9).agent
    agent = AGENTS[name][0](config, ObservationSpec("state", state_dim=4), 7, None).eval()
    observations, goals = torch.randn(5, 4), torch.randn(5, 4)
    with torch.no_grad():
        choice = agent.chosen(observations, goals)
        for i in range(9):
            actions = choice.candidates[:, i]
            if name == "mqe":
                phi = agent.phi(torch.cat([agent.critic_encoder(observations), actions], dim=-1))
                d = agent.head(phi, agent.psi(agent.critic_encoder(goals))).amax(0)
                expected = d / -torch.tensor(config.discount).log()
            else:
                remaining = 1.0 + (1.0 - config.discount) * agent.q(observations, goals, actions).amin(0)
                expected = remaining.clamp(1e-6, 1.0).log() / torch.tensor(config.discount).log()
            torch.testing.assert_close(choice.distances[:, i], expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(choice.chosen, choice.distances.argmin(-1))
    action, steps = agent.deployed(observations, goals)
    assert torch.equal(action, choice.action) and torch.equal(steps, choice.steps_to_goal)


def test_one_candidate_is_that_of_zero_noise(tiny_config: Callable[..., RunConfig]) -> None:
    agents = []
    for count in (1, 8):
        torch.manual_seed(1)
        config = tiny_config(actor="flow", candidates=count).agent
        agents.append(AGENTS["mqe"][0](config, ObservationSpec("state", state_dim=4), 7, None).eval())
    observations, goals = torch.randn(5, 4), torch.randn(5, 4)
    one, eight = (agent.chosen(observations, goals) for agent in agents)
    assert isinstance(one, Choice) and agents[0].candidates == 1 and not one.chosen.any()
    torch.testing.assert_close(one.action, eight.candidates[:, 0])
