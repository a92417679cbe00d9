"""BulletRobot and BulletCamera: the runtime's robot and camera over a simulated world.

The world is in this process, or in a server's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from mqe_core.policy.domain import SIM
from mqe_core.robot.arrays import Floats, Images
from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Clock, Command, Frame, MotorHealth, RobotState
from mqe_sim.arm import ArmState
from mqe_sim.camera import FRAME_HEIGHT, FRAME_WIDTH

if TYPE_CHECKING:  # a client of a world in another process does not load PyBullet
    from mqe_sim.world import World


class BulletRobot:
    """The simulated arm. Give either `world`, stepped by its clock, or the `address` of a running `mqe_sim.server`."""

    def __init__(
        self, spec: RobotSpec, *, clock: Clock, world: World | None = None, address: str | None = None
    ) -> None:
        self._spec = spec
        self._link: _Link = _LocalLink(world) if world is not None else _connect(address)

    def observe(self) -> RobotState:
        """Measured and commanded state. Raises RuntimeError when a server has fallen silent."""
        arm = self._link.arm_state()
        return RobotState(
            stamp=arm.stamp,
            joints=arm.joints,
            gripper=arm.gripper,
            pose=forward_kinematics(self._spec, arm.joints),
            target_pose=forward_kinematics(self._spec, arm.target_joints),
            target_gripper=arm.target_gripper,
            health=MotorHealth(ok=True),
            gripper_effort_n=arm.gripper_effort_n,
        )

    def send(self, command: Command) -> Command:
        """Set the motors' targets to `command.joints` and `command.gripper`."""
        if command.joints is None:
            raise ValueError("the sim's arm takes joint targets; send through SafeRobot, which solves for them")
        self._link.command(np.asarray(command.joints), command.gripper)
        return command

    def hold(self) -> None:
        """Nothing to do: the motors keep the last target by themselves."""

    def close(self) -> None:
        """Drop the connection to a server; a world in this process belongs to its scene."""
        self._link.close()


class BulletCamera:
    """The simulated camera, at `width` × `height` in this process; a server renders at the size it was started with."""

    def __init__(
        self,
        spec: RobotSpec,
        *,
        clock: Clock,
        world: World | None = None,
        address: str | None = None,
        width: int = FRAME_WIDTH,
        height: int = FRAME_HEIGHT,
    ) -> None:
        self._link: _Link = _LocalLink(world, width, height) if world is not None else _connect(address)

    def read(self) -> Frame | None:
        """The view now (world in this process) or the server's newest frame; None before its first."""
        newest = self._link.frame()
        return None if newest is None else Frame(stamp=newest[0], image=newest[1], domain=SIM)

    def close(self) -> None:
        """Drop the connection to a server."""
        self._link.close()


class _Link(Protocol):
    """The way to a world: what `Client` offers of it."""

    def arm_state(self) -> ArmState: ...

    def command(self, joints: Floats, gripper: float) -> None: ...

    def frame(self) -> tuple[float, Images] | None: ...

    def close(self) -> None: ...


class _LocalLink:
    """A link to a world in this process."""

    def __init__(self, world: World, width: int = FRAME_WIDTH, height: int = FRAME_HEIGHT) -> None:
        self._world, self._size = world, (width, height)
        self.arm_state, self.command = world.arm_state, world.command

    def frame(self) -> tuple[float, Images] | None:
        return self._world.look(*self._size)

    def close(self) -> None:
        pass


def _connect(address: str | None) -> _Link:
    from mqe_sim.client import Client  # pyzmq is needed only for a world in another process

    if address is None:
        raise ValueError(
            "the sim backend needs the address of a running server: python -m mqe_sim.server --address "
            "ipc:///tmp/mqe-sim"
        )
    return Client(address)
