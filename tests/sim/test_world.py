"""The simulated arm, scene and camera are what the spec says, and the same seed gives the same run."""

from __future__ import annotations

import numpy as np
import pytest

from mqe_core.robot.geometry import TOOL_DOWN, make_pose, rotation_angle
from mqe_core.robot.kinematics import forward_kinematics, inverse_kinematics
from mqe_core.robot.spec import load_robot_spec
from mqe_sim.arm import PHYSICS_HZ
from mqe_sim.demonstration import run_oracle
from mqe_sim.scene import make_scene
from mqe_sim.tasks import make_task
from mqe_sim.urdf import Part
from mqe_sim.world import World

SPEC = load_robot_spec()


@pytest.fixture
def world():
    world = World(SPEC)
    yield world
    world.close()


def test_the_urdf_has_the_kinematics_of_the_spec(world):
    rng = np.random.default_rng(0)
    for _ in range(50):
        joints = rng.uniform(SPEC.joint_lower, SPEC.joint_upper)
        world.arm.reset(joints, 1.0)
        link = world.bullet.getLinkState(world.arm.body, world.arm.links["ee"], computeForwardKinematics=1)
        pose = forward_kinematics(SPEC, joints)
        np.testing.assert_allclose(link[4], pose[:3, 3], atol=1e-5)
        rotation = np.array(world.bullet.getMatrixFromQuaternion(link[5])).reshape(3, 3)
        assert rotation_angle(rotation, pose[:3, :3]) < 1e-4


def test_the_urdf_has_the_masses_and_limits_of_the_spec(world):
    for joint in SPEC.joints:
        index = world.arm.links[joint.child]
        assert world.bullet.getDynamicsInfo(world.arm.body, index)[0] == pytest.approx(
            getattr(SPEC.links, joint.child).mass_kg
        )
        info = world.bullet.getJointInfo(world.arm.body, index)
        np.testing.assert_allclose(
            info[8:12], [joint.lower_rad, joint.upper_rad, joint.effort_nm, joint.velocity_rad_per_s]
        )


def test_nothing_but_the_gear_between_the_fingers_is_held_by_a_constraint(world):
    make_task("place1", world, 0)
    bullet = world.bullet
    assert bullet.getNumConstraints() == 1
    constraint = bullet.getConstraintInfo(bullet.getConstraintUniqueId(0))
    fingers = {world.arm.links["left_finger"], world.arm.links["right_finger"]}
    assert constraint[0] == constraint[2] == world.arm.body and {constraint[1], constraint[3]} == fingers


@pytest.mark.parametrize(
    "turn, seen", [(0.0, 0.0), (0.3, 0.3), (-0.7, -0.7), (np.pi / 2 + 0.2, 0.2), (1.0, 1.0 - np.pi / 2)]
)
def test_the_yaw_of_a_box_is_known_up_to_quarter_turns(world, turn, seen):
    box = world.add_body([Part((0.04, 0.04, 0.04))], [0.3, 0.0, 0.02], mass_kg=0.05, friction=0.8, yaw_rad=turn)
    assert world.yaw(box) == pytest.approx(seen, abs=1e-9)


def test_the_motors_stay_within_the_spec_s_velocity(world):
    target = SPEC.neutral_rad + [1.5, 0.5, -0.5, 1.0, -1.0, 1.0]
    world.arm.command(target, 1.0)
    fastest = np.zeros(6)
    before = world.arm.joints()
    for _ in range(PHYSICS_HZ):
        world.advance_to(world.time_s + 1 / PHYSICS_HZ)
        now = world.arm.joints()
        fastest = np.maximum(fastest, np.abs(now - before) * PHYSICS_HZ)
        before = now
    assert (fastest <= SPEC.joint_velocity * 1.01).all()
    np.testing.assert_allclose(before, target, atol=0.01)  # and gets there without sagging under its weight


def test_the_fingers_move_together_and_reach_both_ends(world):
    for value in (0.0, 1.0):
        world.arm.command(SPEC.neutral_rad, value)
        world.advance_to(world.time_s + 1.5)
        assert world.arm.gripper() == pytest.approx(value, abs=0.05)
        left, right = (
            world.bullet.getJointState(world.arm.body, world.arm.links[f"{s}_finger"])[0] for s in ("left", "right")
        )
        assert left == pytest.approx(-right, abs=5e-4)


def test_the_camera_projects_points_where_the_spec_s_pinhole_does(world):
    """A small red ball is seen within a pixel or two of where the calibration puts it."""
    camera = SPEC.camera
    for xy in ([0.25, 0.05], [0.35, -0.05], [0.25, -0.06]):  # clear of the arm at its neutral pose
        point = np.array([*xy, 0.05])
        body = world.add_body(
            [Part((0.012, 0.012, 0.012), rgba=(1.0, 0.0, 0.0, 1.0))], point, mass_kg=0.0, friction=0.5
        )
        x, y, z = camera.rotation.T @ (point - camera.position_m)
        expected = np.array([camera.fx_px * x / z + camera.cx_px, camera.fy_px * y / z + camera.cy_px]) / 2
        image = world.render(camera.width_px // 2, camera.height_px // 2).astype(int)
        rows, columns = np.nonzero((image[..., 0] > 120) & (image[..., 1] < 60))
        assert len(rows) > 10
        np.testing.assert_allclose([columns.mean(), rows.mean()], expected, atol=2.0)
        world.bullet.removeBody(body)


def test_the_table_looks_like_the_box_it_is(world):
    picture = world.render(128, 96)
    bullet = world.bullet
    half_m = [1.0, 1.2, 0.02]
    colour = bullet.getVisualShapeData(world.table)[0][7]
    visual = bullet.createVisualShape(bullet.GEOM_BOX, halfExtents=half_m, rgbaColor=colour, specularColor=[0, 0, 0])
    bullet.removeBody(world.table)
    bullet.createMultiBody(0.0, -1, visual, [0.4, 0.0, -half_m[2]])
    np.testing.assert_array_equal(world.render(128, 96), picture)


def test_a_thing_sleeps_once_settled_and_wakes_when_pushed_or_moved(world):
    """Sleep spares time and changes nothing: what is pushed moves, and what is put into the air falls."""
    pushed, moved = (
        world.add_body([Part((0.03, 0.03, 0.03))], [x, y, 0.016], mass_kg=0.05, friction=0.5)
        for x, y in ((0.30, 0.0), (0.30, 0.20))
    )
    world.settle([pushed, moved])
    world.advance_to(world.time_s + 0.1)
    at = world.position(pushed)
    world.advance_to(world.time_s + 1.0)
    np.testing.assert_array_equal(world.position(pushed), at)  # not even the solver's noise
    joints = world.arm.joints()
    for y in (-0.05, 0.05):  # down beside it, then through where it stands
        joints = inverse_kinematics(SPEC, make_pose(TOOL_DOWN, np.array([0.30, y, 0.03])), joints)
        world.command(joints, 0.0)
        world.advance_to(world.time_s + 1.5)
    assert world.position(pushed)[1] > at[1] + 0.03
    world.place_body(moved, [0.30, 0.20, 0.10])
    world.advance_to(world.time_s + 1.0)
    assert world.position(moved)[2] == pytest.approx(0.015, abs=0.002)


def test_unknown_tasks_and_negative_seeds_are_refused(world):
    with pytest.raises(ValueError, match="unknown task 'fold'; known: .*place1"):
        make_task("fold", world, 0)
    with pytest.raises(ValueError, match="must not be negative"):
        make_task("place1", world, -1)


def test_the_same_seed_gives_the_same_demonstration(world):
    first = run_oracle(world, "place1", 3, size=(64, 48))
    other = World(SPEC)
    run_oracle(other, "place1", 5, size=None)  # a used world must not remember
    second = run_oracle(other, "place1", 3, size=(64, 48))
    other.close()
    np.testing.assert_array_equal(first.actions, second.actions)
    np.testing.assert_array_equal(first.full_state, second.full_state)
    np.testing.assert_array_equal(np.array(first.images), np.array(second.images))


def test_scenes_on_the_simulation_s_clock_run_faster_than_real_time_and_keep_their_time():
    scene = make_scene(SPEC, "place1", 1)
    try:
        start = scene.clock.now()
        scene.clock.sleep_until(start + 1.0)
        assert scene.clock.now() == pytest.approx(start + 1.0, abs=1 / PHYSICS_HZ)
        assert scene.camera.read().stamp == scene.clock.now()
        assert scene.score() == 0.0
    finally:
        scene.close()


def test_a_scene_can_begin_with_a_later_stage_and_still_has_the_whole_task_s_goal():
    whole, last = make_scene(SPEC, "place2", 1), make_scene(SPEC, "place2", 1, stage=1)
    try:
        np.testing.assert_array_equal(last.goal, whole.goal)
        assert whole.tabletop.stages() == (False, False) and last.tabletop.stages() == (True, False)
        assert (last.max_score, last.max_steps) == (1.0, whole.max_steps / 2) and last.score() == 0.0
    finally:
        whole.close()
        last.close()
