"""Mazes of square cells: which are free, where they lie, and how far it is from each to each."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from mqe_core.robot.arrays import Floats, Ints

Cell = tuple[int, int]  # row, column
_SIDES = ((-1, 0), (0, -1), (1, 0), (0, 1))


@dataclass(frozen=True)
class Maze:
    """``walls (R, C)``: 1 is a wall. The middle of cell (row, column) is x = column * unit - offset, y likewise of the
    row.
    """

    walls: Ints
    unit: float = 4.0  # m, side of a cell
    offset: float = 4.0  # m

    @classmethod
    def of_environment(cls, environment: object) -> Maze:
        """The maze of one of OGBench's; ValueError where it has none."""
        inner = getattr(environment, "unwrapped", environment)
        walls = getattr(inner, "maze_map", None)
        if walls is None:
            raise ValueError(f"{type(inner).__name__} is no maze")
        return cls(np.asarray(walls), float(inner._maze_unit), float(inner._offset_x))  # type: ignore[attr-defined]

    @classmethod
    def of_text(cls, text: str) -> Maze:
        """Lines of '#' for wall and '.' for free."""
        return cls(np.array([[int(letter == "#") for letter in line] for line in text.split()]))

    @property
    def cells(self) -> list[Cell]:
        """The free ones, row by row."""
        return [(int(row), int(column)) for row, column in np.argwhere(self.walls == 0)]

    @property
    def vertices(self) -> list[Cell]:
        """Free cells but those in the middle of a straight hallway."""
        return [cell for cell in self.cells if not self._hallway(cell)]

    def _hallway(self, cell: Cell) -> bool:
        up, left, down, right = (self.walls[cell[0] + row, cell[1] + column] == 0 for row, column in _SIDES)
        return bool((up and down and not left and not right) or (left and right and not up and not down))

    def position(self, cell: Cell) -> Floats:
        """(2,): x and y of a cell's middle, in m."""
        return np.array([cell[1], cell[0]]) * self.unit - self.offset

    def cell_at(self, position: Floats) -> Cell:
        """The cell in which a position (2,) lies."""
        column, row = ((np.asarray(position) + self.offset + 0.5 * self.unit) // self.unit).astype(int)
        return int(row), int(column)

    def steps_to(self, goal: Cell) -> Ints:
        """(R, C): cells on the shortest way to the goal, along the four sides; -1 where there is none."""
        steps = np.full(self.walls.shape, -1, dtype=np.int64)
        steps[goal] = 0
        queue = deque([goal])
        while queue:
            cell = queue.popleft()
            for neighbour in self.neighbours(cell):
                if steps[neighbour] < 0:
                    steps[neighbour] = steps[cell] + 1
                    queue.append(neighbour)
        return steps

    def neighbours(self, cell: Cell) -> list[Cell]:
        """The free cells beside it."""
        rows, columns = self.walls.shape
        beside = [(cell[0] + row, cell[1] + column) for row, column in _SIDES]
        return [(r, c) for r, c in beside if 0 <= r < rows and 0 <= c < columns and self.walls[r, c] == 0]

    def next_cells(self, cell: Cell, goal: Cell) -> list[Cell]:
        """The neighbours that are nearer to the goal; none at the goal."""
        steps = self.steps_to(goal)
        return [neighbour for neighbour in self.neighbours(cell) if 0 <= steps[neighbour] < steps[cell]]
