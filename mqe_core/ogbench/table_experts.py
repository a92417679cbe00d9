"""The package's scripted experts of cube, scene and puzzle, one task after the other on one table.

play: an open-loop plan with smooth noise. noisy: a closed-loop one, with noise of an amplitude that each episode draws,
and some actions at random. After OGBench.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np

from mqe_core.ogbench.environments import Environment, make_environment, reset
from mqe_core.ogbench.names import DatasetName

NOISE = 0.1  # of a plan's keyframes; the largest amplitude of a noisy episode
SMOOTHING = 0.5  # of a plan's noise
SHORTEST_MOVE = 0.4  # of a closed-loop expert
NOISE_SHAPE = (1.0, 1.0, 1.0, 3.0, 10.0)  # x, y, z, yaw, gripper
# How often a noisy episode takes any action instead of the expert's.
RANDOM_ACTION = {"cube": 0.1, "scene": 0.1, "puzzle": 0.2}
# Between which values an episode draws how often a cube goes on another one.
STACKING = {"single": (0.0, 0.0), "double": (0.0, 0.25), "triple": (0.05, 0.35), "quadruple": (0.1, 0.5)}
_STACKING_ELSEWHERE = (0.5, 0.5)
_TASKS = {"cube": ("cube",), "scene": ("cube", "button", "drawer", "window"), "puzzle": ("button",)}
_KEYS = ("observations", "actions", "terminals", "qpos", "qvel")
# Where the cube of a scene lies too far out to be seen: y in m, and z in m of what lies in the drawer.
_RIGHTMOST, _LEFTMOST, _DRAWER = 0.29, -0.3, (0.06, 0.08)
_CUBE_QPOS = slice(14, 17)


def table_episodes(name: DatasetName, rows: int, seed: int) -> Iterator[dict[str, list[Any]]]:
    """Episodes without end, drawn from NumPy's global generator and ``seed``."""
    environment = make_environment(name, terminate_at_goal=False, mode="data_collection", max_episode_steps=rows)
    family, _, size = name.scene.removeprefix("visual-").partition("-")
    experts = {task: _expert(environment, name.kind, family, task) for task in _TASKS[family]}
    seeds = np.random.SeedSequence(seed)
    while True:
        stacking = np.random.uniform(*STACKING.get(size, _STACKING_ELSEWHERE))
        episode = _episode(environment, experts, name.kind, RANDOM_ACTION[family], stacking, seeds)
        if family != "scene" or _cube_in_sight(np.asarray(episode["qpos"])[:, _CUBE_QPOS]):
            yield episode


def _expert(environment: Environment, kind: str, family: str, task: str) -> Any:
    flavour = "plan" if kind == "play" else "markov"
    module = import_module(f"ogbench.manipspace.oracles.{flavour}.{task}_{flavour}")
    options: dict[str, Any] = {"noise": NOISE, "noise_smoothing": SMOOTHING}
    if kind == "noisy":
        options = {"min_norm": SHORTEST_MOVE}
        if family == "scene" and task == "cube":
            options["max_step"] = 100
    if family == "puzzle":
        options["gripper_always_closed"] = True
    return getattr(module, f"{task.capitalize()}{flavour.capitalize()}Oracle")(env=environment, **options)


def _episode(
    environment: Environment,
    experts: dict[str, Any],
    kind: str,
    random_action: float,
    stacking: float,
    seeds: np.random.SeedSequence,
) -> dict[str, list[Any]]:
    observation, info = reset(environment, int(seeds.spawn(1)[0].generate_state(1)[0]), {})
    amplitude = np.random.uniform(0.0, NOISE) * np.array(NOISE_SHAPE)
    expert = experts[info["privileged/target_task"]]
    expert.reset(observation, info)
    buttons = hasattr(environment.unwrapped, "_cur_button_states")
    episode: dict[str, list[Any]] = {key: [] for key in (*_KEYS, *(("button_states",) if buttons else ()))}
    done = False
    while not done:
        if kind == "noisy" and np.random.rand() < random_action:
            action = environment.action_space.sample()
        else:
            action = np.array(expert.select_action(observation, info))
            if kind == "noisy":
                action = action + np.random.normal(0.0, amplitude)
        action = np.clip(action, -1.0, 1.0)
        following, _, terminated, truncated, info = environment.step(action)
        done = terminated or truncated
        if expert.done:
            new_observation, new_info = environment.unwrapped.set_new_target(p_stack=stacking)
            expert = experts[new_info["privileged/target_task"]]
            expert.reset(new_observation, new_info)
        row = (observation, action, done, info["prev_qpos"], info["prev_qvel"])
        for key, value in zip(_KEYS, row):
            episode[key].append(value)
        if buttons:
            episode["button_states"].append(info["prev_button_states"])
        observation = following
    return episode


def _cube_in_sight(positions: Any) -> bool:
    """``(T, 3)``: never beyond the right edge, nor beyond the left one outside the drawer."""
    y, z = positions[:, 1], positions[:, 2]
    in_drawer = (z >= _DRAWER[0]) & (z <= _DRAWER[1])
    return not bool((y >= _RIGHTMOST).any() or ((y <= _LEFTMOST) & ~in_drawer).any())
