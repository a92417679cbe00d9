"""A cabinet with one drawer that slides on rails with a stop; a bar to hold it by stands off its front.

The cabinet stands at the far left of the table, and the drawer opens along −y, across the arm. The fingers close along
y, so they hold the bar between them and pull or push it without relying on friction. Nothing drives the drawer: it
moves by contact, against the rails' friction.
"""

from __future__ import annotations

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_sim import urdf
from mqe_sim.urdf import Part
from mqe_sim.world import World

TRAVEL_M = 0.10  # from closed to the stop
FRONT_Y_M = 0.165  # of the closed drawer's front
WIDTH_M, DEPTH_M, HEIGHT_M = 0.14, 0.12, 0.052  # of the body, along x, y and z
INSIDE_M = np.array([0.120, 0.100])  # of the drawer, along x and y
FLOOR_M = 0.010  # height of the drawer's floor above the table
BAR_OFF_M = 0.048  # from the front to the bar's middle: room for one open finger
BAR_HEIGHT_M = 0.040  # so high that the hand around the bar of a closed drawer passes over the cabinet's top
_WALL_M, _SIDE_M = 0.004, 0.034  # thickness; height of the drawer's walls
_FRICTION_N = 0.6
_DRAWER_KG = 0.25
_WOOD, _LIGHT_WOOD, _METAL = (0.42, 0.28, 0.16, 1.0), (0.80, 0.66, 0.45, 1.0), (0.15, 0.15, 0.17, 1.0)


class Cabinet:
    """One cabinet in a world, its drawer `open_m` open: 0 to TRAVEL_M. `x_m` is the middle of its width."""

    def __init__(self, world: World, x_m: float, open_m: float = 0.0) -> None:
        self._world, self.x_m = world, x_m
        paint = world.variation.painted
        text = urdf.robot(
            "cabinet",
            urdf.link("body", paint(_body_parts()), 0.0),
            urdf.link("drawer", paint(_drawer_parts()), world.variation.mass_kg(_DRAWER_KG)),
            urdf.slide("rails", "body", "drawer", (0, -1, 0), TRAVEL_M),
        )
        self.body = urdf.load(world.bullet, text, basePosition=[x_m, FRONT_Y_M, 0.0], useFixedBase=True)
        bullet = world.bullet
        for link in (-1, 0):
            bullet.changeDynamics(self.body, link, lateralFriction=world.variation.friction(0.7))
        # Bullet drives a joint with a motor unless told otherwise. One of velocity 0 and bounded force is dry friction.
        bullet.setJointMotorControl2(self.body, 0, bullet.VELOCITY_CONTROL, targetVelocity=0.0, force=_FRICTION_N)
        world.may_sleep(self.body)
        self.set_open(open_m)

    def set_open(self, open_m: float) -> None:
        """Put the drawer there, at rest. For building scenes only."""
        self._world.bullet.resetJointState(self.body, 0, open_m, 0.0)
        self._world.wake(self.body)

    @property
    def open_m(self) -> float:
        """How far the drawer is open now."""
        return float(self._world.bullet.getJointState(self.body, 0)[0])

    @property
    def bar_m(self) -> Floats:
        """(3,): middle of the bar, base frame."""
        return np.array([self.x_m, FRONT_Y_M - self.open_m - BAR_OFF_M, BAR_HEIGHT_M])

    @property
    def inside_m(self) -> Floats:
        """(3,): middle of the drawer's floor, base frame."""
        return np.array([self.x_m, FRONT_Y_M - self.open_m + _WALL_M + INSIDE_M[1] / 2, FLOOR_M])

    def contains(self, position: Floats) -> bool:
        """Whether a point lies between the drawer's walls, at most 10 mm above their tops."""
        off = np.abs(position[:2] - self.inside_m[:2])
        return bool((off < INSIDE_M / 2).all() and FLOOR_M < position[2] < FLOOR_M + _SIDE_M + 0.01)


def _body_parts() -> list[Part]:
    """Two sides, a back and a top around the closed drawer; the origin is on the table, in the middle of the front."""
    depth, wall = DEPTH_M, 0.008
    side = (wall, depth, HEIGHT_M)
    return [
        Part(side, (-(WIDTH_M + wall) / 2, depth / 2, HEIGHT_M / 2), _WOOD),
        Part(side, ((WIDTH_M + wall) / 2, depth / 2, HEIGHT_M / 2), _WOOD),
        Part((WIDTH_M, wall, HEIGHT_M), (0.0, depth - wall / 2, HEIGHT_M / 2), _WOOD),
        Part((WIDTH_M + 2 * wall, depth, wall), (0.0, depth / 2, HEIGHT_M + wall / 2), _WOOD),
    ]


def _drawer_parts() -> list[Part]:
    """Floor, four walls (the front one as high as the opening), and the bar on two arms."""
    x, y = INSIDE_M
    middle = _WALL_M + y / 2
    wall_z = FLOOR_M + _SIDE_M / 2
    front_height = 0.042
    bar = 0.010
    arm = (bar, BAR_OFF_M, bar)
    return [
        Part((x, y, _WALL_M), (0.0, middle, FLOOR_M - _WALL_M / 2), _LIGHT_WOOD),
        Part((_WALL_M, y, _SIDE_M), (-(x + _WALL_M) / 2, middle, wall_z), _LIGHT_WOOD),
        Part((_WALL_M, y, _SIDE_M), ((x + _WALL_M) / 2, middle, wall_z), _LIGHT_WOOD),
        Part((x + 2 * _WALL_M, _WALL_M, _SIDE_M), (0.0, y + 1.5 * _WALL_M, wall_z), _LIGHT_WOOD),
        Part((WIDTH_M - 0.002, _WALL_M, front_height), (0.0, _WALL_M / 2, 0.006 + front_height / 2), _LIGHT_WOOD),
        Part((0.060, bar, bar), (0.0, -BAR_OFF_M, BAR_HEIGHT_M), _METAL),
        Part(arm, (-0.035, -BAR_OFF_M / 2, BAR_HEIGHT_M), _METAL),
        Part(arm, (0.035, -BAR_OFF_M / 2, BAR_HEIGHT_M), _METAL),
    ]
