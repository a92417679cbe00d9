"""Every task: a start at rest with room to work in, a solved scene that scores in full, and nothing that scores without
being done.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from mqe_core.robot.spec import load_robot_spec
from mqe_sim.objects import PAIRS
from mqe_sim.tasks import STAGES, TASKS, make_task, shuffled_stages
from mqe_sim.tasks.home import HOME_STATE, solve_joints
from mqe_sim.tasks.place import PlaceTask, scattered
from mqe_sim.world import World


@pytest.fixture(scope="module")
def world():
    world = World(load_robot_spec())
    yield world
    world.close()


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_order_is_drawn_where_the_physics_allow_it(name):
    """Objects come in any order, each as often; a drawer is opened before the cube goes in."""
    orders = Counter(shuffled_stages(name, seed) for seed in range(2400))
    stages = tuple(range(STAGES[name]))
    if name.startswith("place"):
        share = 2400 / math.factorial(len(stages))
        assert orders.keys() == set(itertools.permutations(stages))
        assert all(0.5 * share < count < 1.5 * share for count in orders.values())
    else:
        assert orders.keys() == {stages}
    assert shuffled_stages(name, 7) == shuffled_stages(name, 7)


@pytest.mark.parametrize("name", sorted(TASKS))
@pytest.mark.parametrize("seed", range(3))
def test_a_scene_starts_unsolved_and_its_goal_is_solved(world, name, seed):
    task = make_task(name, world, seed)
    assert task.name == name and task.seed == seed and task.language
    assert task.score() == 0.0
    task.solve()
    assert task.score() == task.max_score


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_things_start_at_rest_with_room_between_them(world, count):
    task = PlaceTask(world, 11, count)
    bodies = [*task.objects, *task.targets]
    places = np.array([world.position(body)[:2] for body in bodies])
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(len(bodies))
    assert gaps.min() > 0.067
    for body, (kind, _) in zip(task.objects, task.pairs):
        assert world.at_rest(body)
        assert world.position(body)[2] == pytest.approx(kind.height_m / 2, abs=1e-3)
    for body in bodies:  # nothing is inside anything
        assert all(contact[8] > -1e-3 for contact in world.bullet.getContactPoints(body))


@pytest.mark.parametrize("index", range(4))
def test_an_object_beside_over_or_in_the_hand_above_its_target_does_not_count(world, index):
    task = PlaceTask(world, 5, 4)
    kind, target = task.pairs[index]
    x, y, _ = world.position(task.targets[index])
    task.put_on_target(index)
    task.settle()
    assert task.score() == 1.0 and task.placed(index)
    world.place_body(task.objects[index], [x + target.centred_m + 0.03, y, target.support_m + kind.height_m / 2])
    task.settle()
    assert not task.placed(index)
    height = target.support_m + kind.height_m / 2
    world.place_body(task.objects[index], [x, y, height])
    assert task.placed(index)
    world.bullet.resetBaseVelocity(task.objects[index], [0, 0, -0.2], [0, 0, 0])  # falling through its place
    assert not task.placed(index)


def test_an_object_in_the_hand_does_not_count(world):
    task = PlaceTask(world, 5, 1)
    x, y, z = world.position(task.targets[0])
    task.put_on_target(0)
    world.arm.reset(solve_joints(world, np.array([x, y, 0.026, 0, 0, 0])), 1.0)
    task.settle()
    assert task.placed(0)
    world.arm.command(world.arm.target_joints, 0.0)
    world.advance_to(world.time_s + 1.0)
    assert world.arm.finger_contacts(task.objects[0]) == 2 and not task.placed(0)


def test_a_drawer_counts_only_when_let_go(world):
    task = make_task("drawer_open", world, 2)
    task.cabinet.set_open(0.09)
    assert task.score() == 1.0
    x, y, z = task.cabinet.bar_m
    world.arm.reset(solve_joints(world, np.array([x, y, z, 0, 0, 0])), 1.0)
    world.arm.command(world.arm.target_joints, 0.0)
    world.advance_to(world.time_s + 1.0)
    assert task.cabinet.open_m > 0.07 and task.score() == 0.0


def test_flying_through_the_goal_is_not_reaching_it(world):
    task = make_task("reach", world, 2)
    through = solve_joints(world, np.concatenate([task.goal_m, HOME_STATE[3:]]))
    world.arm.reset(through, 1.0)
    assert task.score() == 1.0
    world.arm.command(through + [0.5, 0, 0, 0, 0, 0], 1.0)
    world.advance_to(world.time_s + 0.02)
    assert task.score() == 0.0
    task.settle()
    assert task.score() == 0.0


def test_objects_fit_between_the_open_fingers(world):
    grip = world.spec.gripper
    opening_m = grip.finger_position_m(1.0) - grip.finger_position_m(0.0)
    for kind, _ in PAIRS:
        across_m = max(part.size_m[1] if part.is_box else 2 * part.size_m[0] for part in kind.parts)
        assert across_m < 2 * opening_m - 0.015, kind.name


def test_layouts_overlap_nowhere_and_use_the_whole_region():
    rng = np.random.default_rng(0)
    radii = np.array([0.03, 0.05, 0.03, 0.05])
    layouts = np.array([scattered(rng, radii, [0.2, -0.1], [0.4, 0.2]) for _ in range(200)])
    gaps = np.linalg.norm(layouts[:, :, None] - layouts[:, None], axis=-1) + np.eye(4)
    assert (gaps >= radii[:, None] + radii[None] - 1e-12).all()
    points = layouts.reshape(-1, 2)
    np.testing.assert_allclose(points.min(0), [0.2, -0.1], atol=0.01)
    np.testing.assert_allclose(points.max(0), [0.4, 0.2], atol=0.01)
