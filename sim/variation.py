"""Domain randomisation: named ways in which scenes may differ beyond their layout. None is on unless named.

What is drawn for a scene depends on its seed and the names alone. Each name has its own random numbers, so naming one
more changes no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from mqe_core.robot.arrays import Floats, Images
from mqe_core.robot.parts import CameraSpec
from mqe_sim.camera import Light
from mqe_sim.urdf import Part

NAMES = ("colours", "light", "camera", "friction", "mass", "action_delay", "observation_delay", "image_noise")
_STREAM = 1000  # apart from the collection's own random numbers, [seed, 1 ... 74]
_COLOUR, _BRIGHTNESS = 0.10, 0.15  # ± per channel of a thing's colour, ± of all channels together
_LIGHT_TURN, _AMBIENT, _DIFFUSE = 0.5, 0.15, 0.15  # ± per axis of the direction; ± of the coefficients
_CAMERA_M, _CAMERA_TURN = 0.015, 0.03  # ± per axis; ± per axis of the unit look direction
_ZOOM = 0.04  # ± of the focal length
_FRICTION, _MASS = (0.7, 1.3), (0.5, 2.0)  # factors
_LONGEST_DELAY_S = 0.08
_NOISE = 4.0  # standard deviation per channel, of 255


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names; ValueError, which lists the known ones, where one is unknown."""
    names = tuple(names)
    unknown = set(names) - set(NAMES)
    if unknown:
        raise ValueError(f"unknown randomisation {min(unknown)!r}; known: {', '.join(NAMES)}")
    return names


class Variation:
    """What is different in one scene. The order of NAMES is part of the draws: new names go to its end.

    Attributes:
        light: the scene's light.
        action_delay_s: from sending a command until it reaches the motors.
        observation_delay_s: how old a picture is when it is delivered.
    """

    def __init__(self, names: Iterable[str] = (), seed: int = 0) -> None:
        """ValueError for an unknown name."""
        self.names = check_names(names)
        self._seed = seed
        self._rng = {name: np.random.default_rng(self._stream(name)) for name in self.names}
        self.light = Light()
        if rng := self._rng.get("light"):
            x, y, z = (np.array(self.light.direction) + rng.uniform(-_LIGHT_TURN, _LIGHT_TURN, 3)).tolist()
            self.light = replace(
                self.light,
                direction=(x, y, z),
                ambient=self.light.ambient + rng.uniform(-_AMBIENT, _AMBIENT),
                diffuse=self.light.diffuse + rng.uniform(-_DIFFUSE, _DIFFUSE),
            )
        self._turn: Floats = np.zeros(3)
        self._shift_m: Floats = np.zeros(3)
        self._zoom = 1.0
        if rng := self._rng.get("camera"):
            self._turn = rng.uniform(-_CAMERA_TURN, _CAMERA_TURN, 3)
            self._shift_m = rng.uniform(-_CAMERA_M, _CAMERA_M, 3)
            self._zoom = 1.0 + rng.uniform(-_ZOOM, _ZOOM)
        self.action_delay_s = self._delay_s("action_delay")
        self.observation_delay_s = self._delay_s("observation_delay")

    def painted(self, parts: Sequence[Part]) -> list[Part]:
        """The parts of one more thing, all shifted in colour alike."""
        rng = self._rng.get("colours")
        if rng is None:
            return list(parts)
        shift = rng.uniform(-_COLOUR, _COLOUR, 3) + rng.uniform(-_BRIGHTNESS, _BRIGHTNESS)
        return [
            replace(part, rgba=(*np.clip(np.array(part.rgba[:3]) + shift, 0.0, 1.0).tolist(), part.rgba[3]))
            for part in parts
        ]

    def friction(self, value: float) -> float:
        """The friction of one more body, varied."""
        return value * self._factor("friction", _FRICTION)

    def mass_kg(self, value: float) -> float:
        """The mass of one more body, varied."""
        return value * self._factor("mass", _MASS)

    def camera(self, camera: CameraSpec) -> CameraSpec:
        """The camera of this scene."""
        if "camera" not in self.names:
            return camera
        look = camera.look_direction + self._turn
        return replace(
            camera,
            position_m=camera.position_m + self._shift_m,
            look_direction=look / np.linalg.norm(look),
            fx_px=self._zoom * camera.fx_px,
            fy_px=self._zoom * camera.fy_px,
        )

    def picture(self, image: Images, time_s: float) -> Images:
        """`image` (H, W, 3) with the camera's noise, which is the same whenever the same moment is looked at."""
        if "image_noise" not in self.names:
            return image
        rng = np.random.default_rng([*self._stream("image_noise"), round(time_s * 1e4)])
        noisy: Images = np.clip(image + rng.normal(0.0, _NOISE, image.shape), 0, 255).astype(np.uint8)
        return noisy

    def _stream(self, name: str) -> list[int]:
        return [self._seed, _STREAM, 1 + NAMES.index(name)]

    def _delay_s(self, name: str) -> float:
        return float(self._rng[name].uniform(0.0, _LONGEST_DELAY_S)) if name in self._rng else 0.0

    def _factor(self, name: str, low_high: tuple[float, float]) -> float:
        rng = self._rng.get(name)
        return 1.0 if rng is None else float(np.exp(rng.uniform(*np.log(low_high))))
