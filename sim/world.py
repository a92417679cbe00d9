"""The physical world of the sim: table, arm and a task's objects, stepped at a fixed rate.

In one process the same seed gives the same world, bit for bit.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from mqe_core.robot.arrays import Floats, Images
from mqe_core.robot.spec import RobotSpec
from mqe_sim.arm import PHYSICS_HZ, Arm, ArmState
from mqe_sim.bullet import Bullet, connect
from mqe_sim.camera import render
from mqe_sim.urdf import Part, Rgba
from mqe_sim.variation import Variation

_TABLE_SIZE_M = (2.0, 2.4, 0.04)  # its top is z = 0, the plane the base stands on
_TABLE_RGBA = (0.70, 0.60, 0.47, 1.0)
_GRAVITY = 9.81
_CONTACT_MARGIN_M = 0.005  # Bullet's own 20 mm would keep everything awake that lies so near to a moving hand
_REST_LINEAR_M_PER_S, _REST_ANGULAR_RAD_PER_S = 0.005, 0.1


class World:
    """A PyBullet client with the table and the arm; tasks add their bodies. Simulated time starts at 0 on reset."""

    def __init__(self, spec: RobotSpec, renderer: str = "tiny") -> None:
        """`renderer` is tiny or egl. Tiny is PyBullet's own, on the CPU: results are judged with it. Egl is OpenGL
        without a window.
        """
        self.spec, self._renderer = spec, renderer
        self.bullet: Bullet = connect(renderer)
        self.variation = Variation()  # of the next scene; see make_task
        self.reset()

    def reset(self) -> None:
        """Empty world: table, and the arm at the spec's neutral joints with the gripper open."""
        bullet = self.bullet
        bullet.resetSimulation()
        bullet.setGravity(0, 0, -_GRAVITY)
        bullet.setPhysicsEngineParameter(
            fixedTimeStep=1.0 / PHYSICS_HZ,
            numSolverIterations=60,
            contactBreakingThreshold=_CONTACT_MARGIN_M,
            deterministicOverlappingPairs=1,
        )
        self.table = self._add_table()
        self.arm = Arm(bullet, self.spec)
        self.arm.reset(self.spec.neutral_rad, 1.0)
        self._steps = 0
        self._due: list[tuple[int, int, Callable[[], None]]] = []  # heap: physics step, order, what to do
        self._order = itertools.count()
        self._captured: tuple[float, Images] | None = None

    @property
    def time_s(self) -> float:
        """Simulated seconds since reset."""
        return self._steps / PHYSICS_HZ

    def advance_to(self, time_s: float) -> None:
        """Step physics until simulated time reaches `time_s` (to the nearest physics step); never backward."""
        for _ in range(round(time_s * PHYSICS_HZ) - self._steps):
            self.bullet.stepSimulation()
            self._steps += 1
            while self._due and self._due[0][0] <= self._steps:
                heapq.heappop(self._due)[2]()

    def command(self, joints: Floats, gripper: float) -> None:
        """Set the motors' targets, (6,) rad and 1 = open, after this scene's action delay."""
        self._after(self.variation.action_delay_s, lambda: self.arm.command(joints, gripper))

    def look(self, width: int, height: int) -> tuple[float, Images]:
        """Stamp and picture, (height, width, 3) uint8 RGB, as the camera delivers it at this control step.

        With an observation delay it is the picture taken so long ago. Such a picture is there only for those who look
        once per control period.
        """
        delay = self.variation.observation_delay_s
        picture, self._captured = self._captured, None
        if delay > 0.0:
            self._after(self.spec.control.period_s - delay, lambda: self._capture(width, height))
        return picture or (self.time_s, self.render(width, height))

    def _capture(self, width: int, height: int) -> None:
        self._captured = self.time_s, self.render(width, height)

    def _after(self, delay_s: float, action: Callable[[], None]) -> None:
        if delay_s <= 0.0:
            action()
        else:
            heapq.heappush(self._due, (self._steps + max(1, round(delay_s * PHYSICS_HZ)), next(self._order), action))

    def arm_state(self) -> ArmState:
        """The arm now, stamped with simulated time."""
        arm = self.arm
        return ArmState(
            self.time_s, arm.joints(), arm.gripper(), arm.gripper_effort_n(), arm.target_joints, arm.target_gripper
        )

    def _add_table(self) -> int:
        """A box to the physics. TinyRenderer gets its top alone: it fills the picture anew for every face behind it,
        which took half of a frame's time.
        """
        bullet, half_m = self.bullet, [s / 2 for s in _TABLE_SIZE_M]
        (top,) = self.variation.painted([Part(_TABLE_SIZE_M, rgba=_TABLE_RGBA)])
        look = {"rgbaColor": list(top.rgba), "specularColor": [0, 0, 0]}
        if self._renderer == "tiny":
            x, y, z = half_m
            corners = [[-x, -y, z], [x, -y, z], [x, y, z], [-x, y, z]]
            face = {"vertices": corners, "indices": [0, 1, 2, 0, 2, 3], "normals": [[0, 0, 1]] * 4}
            visual = bullet.createVisualShape(bullet.GEOM_MESH, **face, **look)
        else:  # Bullet's OpenGL renderer crashes on a mesh made of vertices
            visual = bullet.createVisualShape(bullet.GEOM_BOX, halfExtents=half_m, **look)
        solid = bullet.createCollisionShape(bullet.GEOM_BOX, halfExtents=half_m)
        body = int(bullet.createMultiBody(0.0, solid, visual, [0.4, 0.0, -half_m[2]]))
        self._set_friction(body, 0.8)
        return body

    def may_sleep(self, body: int) -> None:
        """Spare the solver this body while it rests, until something awake touches it.

        It falls asleep in `settle`, or after two seconds in which Bullet itself judges it at rest.
        """
        self._activation(body, self.bullet.ACTIVATION_STATE_ENABLE_SLEEPING)

    def wake(self, body: int) -> None:
        """End a body's sleep. Whoever moves it by hand has to."""
        self._activation(body, self.bullet.ACTIVATION_STATE_WAKE_UP)

    def _activation(self, body: int, state: int) -> None:
        self.bullet.changeDynamics(body, -1, activationState=state)

    def add_body(
        self,
        parts: Sequence[Part],
        position_m: Sequence[float],
        *,
        mass_kg: float,
        friction: float,
        yaw_rad: float = 0.0,
    ) -> int:
        """A free body of several parts, its frame at `position_m`; returns its id."""
        bullet, parts = self.bullet, self.variation.painted(parts)
        shapes = {
            "shapeTypes": [bullet.GEOM_BOX if part.is_box else bullet.GEOM_CYLINDER for part in parts],
            "halfExtents": [[s / 2 for s in part.size_m] if part.is_box else [0, 0, 0] for part in parts],
            "radii": [0.0 if part.is_box else part.size_m[0] for part in parts],
            "lengths": [0.0 if part.is_box else part.size_m[1] for part in parts],
        }
        places = [list(part.position_m) for part in parts]
        turns = [bullet.getQuaternionFromEuler([0, 0, part.yaw_rad]) for part in parts]
        mass_kg = self.variation.mass_kg(mass_kg)
        solid = bullet.createCollisionShapeArray(
            **shapes, collisionFramePositions=places, collisionFrameOrientations=turns
        )
        visual = bullet.createVisualShapeArray(
            **shapes,
            visualFramePositions=places,
            visualFrameOrientations=turns,
            rgbaColors=[list(part.rgba) for part in parts],
        )
        turn = bullet.getQuaternionFromEuler([0, 0, yaw_rad])
        body = int(bullet.createMultiBody(mass_kg, solid, visual, list(position_m), turn))
        self._set_friction(body, friction)
        self.may_sleep(body)
        return body

    def add_mark(self, size_m: Sequence[float], position_m: Sequence[float], *, rgba: Rgba) -> int:
        """A box of paint on the table, seen by the camera and touched by nothing; returns its id."""
        (paint,) = self.variation.painted([Part(tuple(size_m), rgba=rgba)])
        half_m = [s / 2 for s in size_m]
        visual = self.bullet.createVisualShape(
            self.bullet.GEOM_BOX, halfExtents=half_m, rgbaColor=paint.rgba, specularColor=[0, 0, 0]
        )
        return int(self.bullet.createMultiBody(0.0, -1, visual, list(position_m)))

    def _set_friction(self, body: int, friction: float) -> None:
        friction = self.variation.friction(friction)
        self.bullet.changeDynamics(body, -1, lateralFriction=friction, spinningFriction=0.002, rollingFriction=0.0005)

    def position(self, body: int) -> Floats:
        """(3,) m: origin of a body's frame. An object's is at its centre."""
        return np.array(self.bullet.getBasePositionAndOrientation(body)[0])

    def yaw(self, body: int) -> float:
        """Rad in ±π/4: how far a body's most level axis is turned from the table's axes.

        Quarter turns are left out: a box looks the same after one.
        """
        _, quaternion = self.bullet.getBasePositionAndOrientation(body)
        axes = np.array(self.bullet.getMatrixFromQuaternion(quaternion)).reshape(3, 3)
        level = axes[:, np.argmin(np.abs(axes[2]))]
        return float((np.arctan2(level[1], level[0]) + np.pi / 4) % (np.pi / 2) - np.pi / 4)

    def place_body(self, body: int, position_m: Sequence[float]) -> None:
        """Move a body, upright and at rest. For building scenes only, never while a policy runs."""
        self.bullet.resetBasePositionAndOrientation(body, list(position_m), [0, 0, 0, 1])
        self.bullet.resetBaseVelocity(body, [0, 0, 0], [0, 0, 0])
        self.wake(body)

    def at_rest(self, body: int) -> bool:
        """Whether a body's velocities are below what solver noise leaves on a resting one."""
        linear, angular = self.bullet.getBaseVelocity(body)
        return bool(np.linalg.norm(linear) < _REST_LINEAR_M_PER_S and np.linalg.norm(angular) < _REST_ANGULAR_RAD_PER_S)

    def settle(self, bodies: Sequence[int], limit_s: float = 2.0) -> None:
        """Step until all `bodies` rest, at most `limit_s` simulated seconds. Those at rest then sleep (`may_sleep`)."""
        end = self.time_s + limit_s
        self.advance_to(self.time_s + 0.1)
        while self.time_s < end and not all(self.at_rest(body) for body in bodies):
            self.advance_to(self.time_s + 0.05)
        for body in bodies:
            if self.at_rest(body):
                self._activation(body, self.bullet.ACTIVATION_STATE_SLEEP)

    def settle_arm(self, limit_s: float = 2.0) -> None:
        """Step until the arm is still, at most `limit_s` simulated seconds."""
        end = self.time_s + limit_s
        while self.time_s < end and not self.arm.is_still():
            self.advance_to(self.time_s + 0.05)

    def render(self, width: int, height: int) -> Images:
        """(height, width, 3) uint8 RGB: the view of the spec's camera now."""
        image = render(self.bullet, self.variation.camera(self.spec.camera), width, height, self.variation.light)
        return self.variation.picture(image, self.time_s)

    def close(self) -> None:
        """Disconnect; the object is unusable afterwards."""
        self.bullet.disconnect()
