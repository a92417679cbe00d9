"""What a scene is to the rest of the runtime: a task, set up in a simulator.

The scenes of a task are numbered; a scene's number is its seed. `backends.make_scene` makes one.
"""

from __future__ import annotations

from typing import Protocol

from mqe_core.robot.arrays import Images
from mqe_core.runtime.robot import Camera, Clock, Robot

# Scenes from this seed on are kept for evaluation: no training data is collected in them.
FIRST_EVALUATION_SEED = 1_000_000


class Scene(Protocol):
    """One scene: what `mqe eval` and `mqe run` drive. `robot` is raw: wrap it in `SafeRobot`."""

    robot: Robot
    camera: Camera
    clock: Clock
    goal: Images  # (H, W, 3) uint8 RGB
    task: str
    max_steps: int
    max_score: float

    def score(self) -> float:
        """Lets the world come to rest, then scores it: 0 to `max_score`."""

    def close(self) -> None:
        """End the simulation."""
