"""Which runs the comparison on OGBench has, in the order in which they are done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

OTHER_GOALS: dict[str, Any] = {
    "actor_goal_trajectory": 0.5,
    "actor_goal_random": 0.5,
}  # half of the actor's goals from all of the data
# The critic chooses among proposals of where to be next, and a policy cloned towards its own goals goes there.
SUBGOALS: dict[str, Any] = {"proposal_steps": 10}
# Name in the tables -> agent and keys.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "mqe": ("mqe", {}),
    "mqe, other goals": ("mqe", OTHER_GOALS),
    "mqe, subgoals": ("mqe", SUBGOALS),
    **{name: (name, {}) for name in ("qrl", "gciql", "hiql", "gcbc", "tmd", "cmd", "crl", "gcivl", "nsacbc", "tra")},
}
# Rows of the paper's ablation table.
ABLATED_KEYS: dict[str, dict[str, Any]] = {
    "no invariance": {"invariance_weight": 0.0},
    "expectile 0.7": {"expectile": 0.7},
    "expectile 0.9": {"expectile": 0.9},
    "waypoint Geom(1 - lambda)": {"next_state_sample": 0.0},
    "waypoint Unif[1, K]": {"next_state_sample": 0.0, "waypoint": "uniform"},
    "waypoint Unif[1, 50]": {"next_state_sample": 0.0, "waypoint": "uniform", "waypoint_steps": 50},
    "waypoint 50": {"next_state_sample": 0.0, "waypoint": "fixed", "waypoint_steps": 50},
    "waypoint 1": {"next_state_sample": 1.0},
}
# The actor has goals of other episodes: with its own alone it learns no maze.
ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: ("mqe", {**OTHER_GOALS, **keys}) for name, keys in ABLATED_KEYS.items()},
    "mqe, states as they are": ("mqe", {"standardise": False}),
}
MAZES = ("pointmaze-medium-stitch-v0", "pointmaze-giant-stitch-v0")
ABLATED = MAZES[0]
FURTHER = (
    "pointmaze-giant-navigate-v0",
    "pointmaze-colossal-stitch-v0",
    "cube-single-play-v0",
    "scene-play-v0",
)
FEW = ("mqe", "mqe, other goals", "qrl", "gciql", "hiql")
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Run:
    """One training: of a variant on a data set with a seed."""

    dataset: str
    variant: str
    seed: int

    @property
    def agent(self) -> str:
        """The algorithm's name."""
        return {**VARIANTS, **ABLATIONS}[self.variant][0]

    @property
    def keys(self) -> dict[str, Any]:
        """What differs from the agent's own configuration."""
        return {**VARIANTS, **ABLATIONS}[self.variant][1]

    @property
    def folder(self) -> str:
        """A name for its run folder."""
        words = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in self.variant)
        return f"{self.dataset}/{words}-{self.seed}"


def plan() -> list[Run]:
    """First every agent once on both mazes, then the other seeds, the ablations and the further sets."""
    first = [Run(maze, variant, SEEDS[0]) for maze in MAZES for variant in VARIANTS]
    again = [Run(maze, variant, seed) for seed in SEEDS[1:] for maze in MAZES for variant in VARIANTS]
    ablations = [Run(ABLATED, variant, SEEDS[0]) for variant in ABLATIONS]
    further = [Run(dataset, variant, SEEDS[0]) for dataset in FURTHER for variant in FEW]
    return first + ablations + further + again
