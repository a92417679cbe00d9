"""benchmarks/critic_choice.py measures what it says: a critic that knows the demonstrated action, and one that knows
nothing."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training is not installed: make learn")
pytest.importorskip("pybullet")
from benchmarks import critic_choice
from mqe_core.learning.rows.actions import ActionScale

SCALE = ActionScale(np.full(7, -1.0, np.float32), np.full(7, 1.0, np.float32))
STEPS = 40


@pytest.fixture
def scene() -> critic_choice.Scene:
    rng = np.random.default_rng(0)
    actions = np.concatenate([rng.uniform(-0.04, 0.04, (STEPS, 6)), np.ones((STEPS, 1))], axis=1)
    others = actions[:, None] + [0.03, 0, 0, 0, 0, 0, 0]
    others[STEPS // 2 :] = np.nan  # by then the other stage is done
    return critic_choice.Scene(rng.normal(size=(STEPS + 1, 4)).astype(np.float32), actions, others, np.ones(STEPS))


def judged(monkeypatch: pytest.MonkeyPatch, scene: critic_choice.Scene, distances) -> dict[str, list[float]]:
    monkeypatch.setattr(critic_choice, "distances", distances)
    rng = np.random.default_rng(1)
    features = rng.normal(size=(200, 4)).astype(np.float32)
    actions = np.concatenate([rng.uniform(-0.04, 0.04, (200, 6)), np.ones((200, 1))], axis=1)
    return critic_choice.judge(None, SCALE, scene, features, actions)


def test_a_critic_that_knows_the_action_chooses_it(monkeypatch, scene) -> None:
    def knowing(agent, observation, actions, goal) -> np.ndarray:
        step = np.flatnonzero((scene.features[:-1] == observation.numpy()).all(axis=1))[0]
        return np.linalg.norm(actions - scene.actions[step], axis=1)

    found = judged(monkeypatch, scene, knowing)
    assert set(found["object"]) == set(found["gripper"]) == {1.0}
    assert len(found["object"]) == STEPS // 2 and len(found["gripper"]) == STEPS
    assert np.mean(found["chosen"]) < 0.6 * np.mean(found["random"])


def test_a_critic_that_knows_nothing_chooses_by_chance(monkeypatch, scene) -> None:
    rng = np.random.default_rng(2)
    found = judged(monkeypatch, scene, lambda agent, observation, actions, goal: rng.random(len(actions)))
    assert 0.2 < np.mean(found["object"]) < 0.8 and 0.25 < np.mean(found["gripper"]) < 0.75
    assert np.mean(found["chosen"]) == pytest.approx(np.mean(found["random"]), rel=0.25)
    assert set(judged(monkeypatch, scene, lambda *of: np.zeros(len(of[2])))["object"]) == {0.5}


def test_a_hand_that_holds_something_has_no_other_way(monkeypatch, scene) -> None:
    holding = critic_choice.Scene(scene.features, scene.actions, scene.others, np.full(STEPS, 0.6))
    found = judged(monkeypatch, holding, lambda agent, observation, actions, goal: np.zeros(len(actions)))
    assert found["object"] == found["chosen"] == [] and len(found["gripper"]) == STEPS
