"""The colossal maze of the MQE paper, for the point and the ant: OGBench's own environments with a larger map.

18 x 24 cells, half as many again a side as `giant`. The package has neither map nor tasks; its maze is subclassed, so
that everything else stays as it is there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mqe_core.ogbench.mazes import Cell, Maze

MAX_STEPS = 4000
MAP = """
########################
#.......#..............#
#.#.###.#.###.###.####.#
#.#...#...#.#.#...#....#
#.###.#.###.#.#.###.##.#
#...#.#.....#.#.#.#..#.#
###.#.#####.#.#.#.#.##.#
#.#.#.....#.#.#.#......#
#.#.#####.#.#.#.#.####.#
#...#.....#.#...#....#.#
#.###.#####.######.#.#.#
#.#.......#........#.#.#
#.#.#####.###.######.#.#
#.#.#.....#...#...#..#.#
#.#.#.#.###.#.#.#...##.#
#.#.#.#.#.#.#.#.#.#..#.#
#.....#.....#...###....#
########################
"""
TASKS: tuple[tuple[Cell, Cell], ...] = (
    ((1, 1), (16, 22)),
    ((1, 14), (16, 3)),
    ((9, 1), (7, 17)),
    ((9, 8), (2, 22)),
    ((9, 14), (11, 14)),
)
_BODIES = {"pointmaze": "point", "antmaze": "ant"}


def register_colossal() -> None:
    """Let gymnasium know `pointmaze-colossal-v0` and `antmaze-colossal-v0`; again is no error."""
    import gymnasium

    for name, body in _BODIES.items():
        if f"{name}-colossal-v0" not in gymnasium.registry:
            gymnasium.register(
                id=f"{name}-colossal-v0",
                entry_point=f"{__name__}:make_colossal",
                max_episode_steps=MAX_STEPS,
                kwargs={"loco_env_type": body},
            )


def make_colossal(loco_env_type: str, **options: Any) -> Any:
    """The maze for a body, "point" or "ant"; options as OGBench's mazes have them."""
    from ogbench.locomaze.maze import make_maze_env

    # The package makes a class of its own for each body, and hands out only instances of it.
    base = type(make_maze_env(loco_env_type, "maze", maze_type="arena"))

    class ColossalMaze(base):  # type: ignore[misc, valid-type]
        """The base knows the map by name only, and asks for the walls before it needs them."""

        def update_tree(self, tree: Any) -> None:
            self._maze_type, self.maze_map = "colossal", np.array(Maze.of_text(MAP).walls)
            super().update_tree(tree)

        def set_tasks(self) -> None:
            self.task_infos = [
                {
                    "task_name": f"task{number}",
                    "init_ij": start,
                    "init_xy": self.ij_to_xy(start),
                    "goal_ij": goal,
                    "goal_xy": self.ij_to_xy(goal),
                }
                for number, (start, goal) in enumerate(TASKS, start=1)
            ]

    return ColossalMaze(maze_type="giant", **options)
