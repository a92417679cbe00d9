"""From a picture that somebody has to one that the robot's camera could have taken."""

from __future__ import annotations

from mqe_core.images import resize
from mqe_core.robot.arrays import Images
from mqe_core.robot.parts import CameraSpec

_SAME_SIDES = 0.01  # of the ratio of the sides; less is rounding


def as_the_camera_sees(picture: Images, camera: CameraSpec) -> tuple[Images, str]:
    """(H, W, 3) uint8 → the same in the camera's size, and in words what was done.

    The policy squashes every image to a square. So the sides must have the camera's ratio, or things would be wider or
    taller than those that the camera shows: what is too much is cut off at both ends. Nothing is enlarged.
    """
    height, width = picture.shape[:2]
    ratio = camera.width_px / camera.height_px
    kept_width, kept_height = min(width, round(height * ratio)), min(height, round(width / ratio))
    if abs(width / height / ratio - 1) <= _SAME_SIDES:
        kept_width, kept_height = width, height
    left, top = (width - kept_width) // 2, (height - kept_height) // 2
    cut = picture[top : top + kept_height, left : left + kept_width]
    how = [f"{width}x{height}"]
    if (kept_width, kept_height) != (width, height):
        sides = "left and right" if kept_width < width else "top and bottom"
        lost = width - kept_width if kept_width < width else height - kept_height
        how.append(f"{lost} pixels cut off, half of them each at {sides}, to {kept_width}x{kept_height}")
    if kept_width > camera.width_px:
        cut = resize(cut, camera.height_px, camera.width_px)
        how.append(f"made smaller to {camera.width_px}x{camera.height_px}, as the camera {camera.name} sees")
    return cut, ", ".join(how) + ("" if len(how) > 1 else ", kept as it is")
