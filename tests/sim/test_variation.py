"""Domain randomisation changes what its name says, by seed, and nothing where it is not named."""

from __future__ import annotations

import numpy as np
import pytest

from mqe_core.robot.spec import load_robot_spec
from mqe_sim.collect import CollectionSettings
from mqe_sim.demonstration import run_oracle
from mqe_sim.objects import CUBE
from mqe_sim.scene import SimScene
from mqe_sim.tasks import make_task
from mqe_sim.variation import NAMES, Variation
from mqe_sim.world import World


@pytest.fixture(scope="module")
def world():
    world = World(load_robot_spec())
    yield world
    world.close()


def dynamics(world: World, body: int) -> tuple[float, float]:
    mass, friction = world.bullet.getDynamicsInfo(body, -1)[:2]
    return mass, friction


def view(world: World, names: tuple[str, ...], seed: int = 3) -> np.ndarray:
    make_task("place2", world, seed, randomise=names)
    return world.render(64, 48).astype(int)


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path) -> None:
    with pytest.raises(ValueError, match="unknown randomisation 'colors'; known: colours, light"):
        Variation(["colors"])
    with pytest.raises(ValueError, match="unknown randomisation"):
        CollectionSettings("place1", randomise=("fog",))


def test_every_name_draws_by_seed_and_alone(world: World) -> None:
    plain = view(world, ())
    assert np.array_equal(view(world, ()), plain)
    for name in ("colours", "light", "camera", "image_noise"):
        varied = view(world, (name,))
        assert np.abs(varied - plain).mean() > 0.5, name
        assert np.array_equal(view(world, (name,)), varied), name
    # With friction, mass and delays named too, the picture is the same but for what falls and slides while the scene
    # settles: nothing.
    assert np.array_equal(view(world, ("colours", "mass", "action_delay")), view(world, ("colours",)))


def test_mass_and_friction_change_within_their_ranges(world: World) -> None:
    masses, frictions = [], []
    for seed in range(12):
        task = make_task("place1", world, seed, randomise=["mass", "friction"])
        mass, friction = dynamics(world, task.objects[0])
        masses.append(mass / CUBE.mass_kg)
        frictions.append(friction / CUBE.friction)
    assert 0.5 <= min(masses) < 0.9 < 1.1 < max(masses) <= 2.0
    assert 0.7 <= min(frictions) < 0.95 < 1.05 < max(frictions) <= 1.3
    task = make_task("place1", world, 0)
    assert dynamics(world, task.objects[0]) == pytest.approx((CUBE.mass_kg, CUBE.friction))


def test_a_delayed_command_reaches_the_motors_late(world: World) -> None:
    make_task("reach", world, 1, randomise=["action_delay"])
    delay, start = world.variation.action_delay_s, world.time_s
    assert 0.0 < delay <= 0.08
    world.command(np.zeros(6), 0.25)
    world.advance_to(start + delay - 0.01)
    assert world.arm.target_gripper == 1.0
    world.advance_to(start + delay + 0.01)
    assert world.arm.target_gripper == 0.25 and not world.arm.target_joints.any()


def test_a_late_camera_shows_what_was(world: World) -> None:
    """Pictures asked for once per control period are as old as the scene's delay, and show the moment of their
    stamp.
    """
    make_task("reach", world, 1, randomise=["observation_delay"])
    delay, period, start = world.variation.observation_delay_s, world.spec.control.period_s, world.time_s
    world.look(32, 24)
    world.arm.command(world.arm.target_joints + [0.3, 0, 0, 0, 0, 0], 1.0)
    world.advance_to(start + period - delay)
    then = world.render(32, 24)
    world.advance_to(start + period)
    stamp, picture = world.look(32, 24)
    assert stamp == pytest.approx(start + period - delay, abs=1 / 240)
    assert np.array_equal(picture, then) and not np.array_equal(picture, world.render(32, 24))


def test_goal_and_frames_come_from_the_same_varied_camera() -> None:
    """At the goal's arm pose, frame and goal image agree outside the objects: same table, light and view."""
    scene = SimScene(load_robot_spec(), "place1", 5, randomise=["colours", "light", "camera"])
    plain = SimScene(load_robot_spec(), "place1", 5)
    frame = scene.camera.read().image.astype(int)
    same = np.abs(frame - scene.goal).max(axis=2) < 6
    assert same.mean() > 0.7
    assert (np.abs(frame - plain.goal).max(axis=2) < 6).mean() < 0.5
    scene.close()
    plain.close()


def test_the_oracle_copes_with_everything_at_once(world: World) -> None:
    scores = [run_oracle(world, "place1", seed, size=None, randomise=NAMES).outcome.score for seed in range(12)]
    assert sum(scores) >= 10


def test_egl_shows_the_same_view() -> None:
    spec = load_robot_spec()
    try:
        world = World(spec, renderer="egl")
    except RuntimeError as error:
        pytest.skip(str(error))
    centres = []
    for one in (world, World(spec)):
        make_task("place1", one, 3)
        image = one.render(128, 96).astype(int)
        one.close()
        red = (image[:, :, 0] > 2 * image[:, :, 1]) & (image[:, :, 0] > 90)
        centres.append(np.argwhere(red).mean(axis=0))
    np.testing.assert_allclose(*centres, atol=1.0)


def test_an_unknown_renderer_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown renderer 'vulkan'; known: tiny, egl"):
        World(load_robot_spec(), renderer="vulkan")
