"""The over-the-shoulder camera: the spec's pinhole rendered by PyBullet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mqe_core.robot.arrays import Images
from mqe_core.robot.parts import CameraSpec

if TYPE_CHECKING:  # the server's clients import this module and load no PyBullet
    from mqe_sim.bullet import Bullet

# What the sim's camera delivers unless told otherwise: the sensor's 4:3 view at twice a 64-pixel policy's size, so that
# squashing it averages over edges. Training data and evaluation use the same size.
FRAME_WIDTH, FRAME_HEIGHT = 128, 96
_NEAR_M, _FAR_M = 0.02, 3.0


@dataclass(frozen=True)
class Light:
    """The one light of a scene: the direction it comes from, its colour, and its coefficients."""

    direction: tuple[float, float, float] = (0.4, -0.6, 1.0)
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    ambient: float = 0.6
    diffuse: float = 0.4
    specular: float = 0.05


def view_matrix(camera: CameraSpec) -> list[float]:
    """OpenGL view matrix (16, column-major) of the camera; base frame → eye frame (x right, y up, z backward)."""
    right, down, forward = camera.rotation.T
    rotation = np.stack([right, -down, -forward])
    view = np.eye(4)
    view[:3, :3] = rotation
    view[:3, 3] = -rotation @ camera.position_m
    return view.T.reshape(-1).tolist()


def projection_matrix(camera: CameraSpec) -> list[float]:
    """OpenGL projection (16, column-major) of the intrinsics; the same field of view whatever size is rendered."""
    w, h = camera.width_px, camera.height_px
    projection = np.array(
        [
            [2 * camera.fx_px / w, 0, 1 - 2 * camera.cx_px / w, 0],
            [0, 2 * camera.fy_px / h, 2 * camera.cy_px / h - 1, 0],
            [0, 0, -(_FAR_M + _NEAR_M) / (_FAR_M - _NEAR_M), -2 * _FAR_M * _NEAR_M / (_FAR_M - _NEAR_M)],
            [0, 0, -1, 0],
        ]
    )
    return projection.T.reshape(-1).tolist()


def render(bullet: Bullet, camera: CameraSpec, width: int, height: int, light: Light) -> Images:
    """(height, width, 3) uint8 RGB of what the camera sees, by the client's renderer.

    Other aspect ratios than the sensor's squash the same view.
    """
    _, _, rgba, _, _ = bullet.getCameraImage(
        width,
        height,
        viewMatrix=view_matrix(camera),
        projectionMatrix=projection_matrix(camera),
        shadow=1,
        renderer=bullet.ER_TINY_RENDERER,
        flags=bullet.ER_NO_SEGMENTATION_MASK,
        lightDirection=light.direction,
        lightColor=light.colour,
        lightAmbientCoeff=light.ambient,
        lightDiffuseCoeff=light.diffuse,
        lightSpecularCoeff=light.specular,
    )
    return np.ascontiguousarray(np.asarray(rgba, dtype=np.uint8).reshape(height, width, 4)[:, :, :3])
