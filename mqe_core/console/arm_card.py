"""The arm in 3D: the boxes of the robot file at the measured joints, the target, the path, the policy's candidates, the
workspace and the table. It is drawn once it is opened: a browser without WebGL is asked for none.
"""

from __future__ import annotations

import numpy as np
from nicegui import ui

from mqe_core.console.arm_shapes import arm_boxes, arm_frames, dots
from mqe_core.console.link import Line3D, Snapshot
from mqe_core.console.link import Scene as ArmScene
from mqe_core.robot.spec import RobotSpec

_SHOW_S = 0.4
_MOST_DOTS = 1500  # of the lines
_JOINTS = 7
_LIGHTER = 0x45  # the plastic is nearly black, and so is a page


class ArmCard:
    """Turn it with the mouse."""

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec
        self._shown = -float("inf")
        self._scene: ui.scene | None = None
        with ui.card().classes("card"):
            self._box = ui.expansion("the arm in 3D", on_value_change=self._on_open).props('dense data-act="arm-3d"')
            with self._box:
                self._place = ui.element("div").classes("scene")
                ui.label(
                    "Boxes of the robot file at the measured joints. Blue: the target. Dots: the way of the targets "
                    "that were sent (green as asked, amber clipped, red refused), and what the policy chose among."
                ).classes("detail")

    def show(self, snapshot: Snapshot, now: float) -> None:
        """As `page.Part`."""
        if self._scene is None or not self._box.value or now - self._shown < _SHOW_S:
            return
        self._shown = now
        self._draw(snapshot.scene)

    def _on_open(self) -> None:
        if self._scene is not None or not self._box.value:
            return
        with self._place:
            self._scene = ui.scene(width=560, height=380, grid=False, background_color="#dfe4ea")
        work = self._spec.workspace
        low, high = work.low_m, work.high_m
        size, middle = (high - low).tolist(), (0.5 * (low + high)).tolist()
        with self._scene as scene:
            scene.box(1.2, 1.2, 0.002).material("#b9a281", opacity=0.6).move(0.3, 0.0, work.table_height_m - 0.001)
            scene.box(size[0], size[1], size[2], wireframe=True).material("#0b5cad").move(*middle)
            self._frames = [scene.group() for _ in range(_JOINTS)]
            self._boxes = []
            for box in arm_boxes(self._spec, None):
                with self._frames[box.joint]:
                    drawn = (
                        scene.box(*box.size_m.tolist()).material(_lighter(box.colour)).move(*box.position_m.tolist())
                    )
                self._boxes.append(drawn)
            self._target = scene.sphere(0.012).material("#0b5cad").visible(False)
            self._lines = scene.point_cloud([[0.0, 0.0, -9.0]], [[0.0, 0.0, 0.0]], 0.008)
        scene.move_camera(x=0.62, y=-0.5, z=0.42, look_at_x=0.2, look_at_y=0.0, look_at_z=0.12, duration=0.0)
        self._shown = -float("inf")

    def _draw(self, arm: ArmScene) -> None:
        if arm.joints is not None:
            for group, frame in zip(self._frames, arm_frames(self._spec, arm.joints)):
                group.move(*frame[:3, 3].tolist()).rotate_R(frame[:3, :3].tolist())
            for drawn, box in zip(self._boxes, arm_boxes(self._spec, arm.gripper)):
                drawn.move(*box.position_m.tolist())
        self._target.visible(arm.target is not None)
        if arm.target is not None:
            self._target.move(*arm.target[:3, 3].tolist())
        points, colours = _cloud([*([arm.path] if arm.path is not None else []), *arm.candidates])
        self._lines.set_points(points, colours)


def _cloud(lines: list[Line3D]) -> tuple[list[list[float]], list[list[float]]]:
    """Points and colours of all lines; one far below where there is none."""
    points: list[list[float]] = []
    colours: list[list[float]] = []
    for line in lines:
        along = dots(line.points).tolist()[: _MOST_DOTS - len(points)]
        points += along
        colours += [_levels(line.colour)] * len(along)
    return (points, colours) if points else ([[0.0, 0.0, -9.0]], [[0.0, 0.0, 0.0]])


def _levels(colour: str) -> list[float]:
    return [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]


def _lighter(colour: str) -> str:
    levels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])
    return "#{:02x}{:02x}{:02x}".format(*np.minimum(levels + _LIGHTER, 255).tolist())
