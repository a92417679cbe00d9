"""Mazes: cells, ways, and the colossal one, as the MQE paper has it."""

from __future__ import annotations

import numpy as np

from mqe_core.ogbench.colossal import MAP, TASKS
from mqe_core.ogbench.maze_expert import STITCH_CELLS, Expert, _stitch_goal
from mqe_core.ogbench.mazes import Maze

RING = Maze.of_text("""
    #####
    #...#
    #.#.#
    #...#
    #####
""")


def test_ways_are_the_shortest() -> None:
    steps = RING.steps_to((1, 1))
    assert steps[1, 1] == 0 and steps[3, 3] == 4 and steps[2, 1] == 1 and steps[2, 2] == -1
    assert RING.next_cells((2, 3), (1, 1)) == [(1, 3)] and RING.next_cells((1, 1), (1, 1)) == []
    assert len(RING.next_cells((3, 3), (1, 1))) == 2  # both ways round are as long


def test_positions_and_cells_are_inverse() -> None:
    for cell in RING.cells:
        middle = RING.position(cell)
        assert RING.cell_at(middle) == cell == RING.cell_at(middle + 1.99) == RING.cell_at(middle - 1.99)
    assert RING.position((1, 3)).tolist() == [8.0, 0.0]  # x is the column's


def test_hallways_are_no_vertices() -> None:
    assert len(RING.cells) == 8 and RING.vertices == [(1, 1), (1, 3), (3, 1), (3, 3)]


def test_the_colossal_maze_has_the_papers_ways() -> None:
    maze = Maze.of_text(MAP)
    assert maze.walls.shape == (18, 24) and len(maze.cells) == 202
    assert [int(maze.steps_to(goal)[start]) for start, goal in TASKS] == [40, 38, 40, 39, 32]
    everywhere = np.array([maze.steps_to(cell)[tuple(np.array(maze.cells).T)] for cell in maze.cells])
    assert everywhere.min() == 0 and everywhere.max() == 52  # connected


def test_the_expert_walks_the_shortest_way_and_rests_at_its_end() -> None:
    expert, position = Expert(RING), RING.position((3, 1))
    goal = RING.position((1, 3)) + 0.7
    walked = [RING.cell_at(position)]
    for _ in range(200):
        step = 0.2 * expert.direction(position, goal)
        assert np.linalg.norm(step) < 0.2 + 1e-6
        position = position + step
        walked.append(RING.cell_at(position))
    assert RING.walls[tuple(np.array(walked).T)].max() == 0
    assert len(dict.fromkeys(walked)) == 5 and np.linalg.norm(position - RING.position((1, 3))) < 0.25


def test_stitch_goals_are_four_cells_away() -> None:
    np.random.seed(0)
    assert {_stitch_goal(RING, (1, 1)) for _ in range(20)} == {(3, 3)} and STITCH_CELLS == 4
    assert _stitch_goal(Maze.of_text("### #.# ###"), (1, 1)) == (1, 1)
