"""Where a policy's commands lead, as markers for rviz2 and Foxglove.

In a run the line is the way of the targets that were really answer.

In a dry run nothing moves. Every command is a first step from the same resting target, and a line through many of them
would be no path. There the line is the newest step alone, continued straight for two seconds: the arm's way if it
started now and the policy kept to that step. The words beside it say so.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Command
from mqe_ros import convert

SENT = ColorRGBA(r=0.1, g=0.8, b=0.2, a=1.0)  # as it was asked for
CLIPPED = ColorRGBA(r=1.0, g=0.65, b=0.0, a=1.0)
REFUSED = ColorRGBA(r=0.9, g=0.1, b=0.1, a=1.0)
KEPT_S = 30.0  # of the line behind
AHEAD_S = 2.0  # of the line ahead, in a dry run
_LIFETIME = Duration(sec=1)  # of what is about the newest command: without a newer one it goes
_JUMP_M = 0.02  # the target was moved otherwise in between: homing, a resume
_WHITE = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
_LINE = Vector3(x=0.004)
_ARROW = Vector3(x=0.06, y=0.008, z=0.012)  # length, shaft, head
_TEXT = Vector3(z=0.02)
_TEXT_ABOVE_M = 0.06


class IntendedPath:
    """Markers of the newest command's outcome and of the way behind or ahead of it."""

    def __init__(self, spec: RobotSpec, dry_run: bool) -> None:
        self._frame = spec.base_frame
        self._dry_run = dry_run
        self._ahead = round(AHEAD_S * spec.control.control_hz)
        self._session = ""
        self._points: deque[Point] = deque(maxlen=round(KEPT_S * spec.control.control_hz))
        self._colours: deque[ColorRGBA] = deque(maxlen=self._points.maxlen)

    def markers(self, before: np.ndarray, answer: Command, stamp: Time) -> MarkerArray:
        """What to show after a command.

        Args:
            before: (4, 4), the target in force when it came.
            answer: what became of it, as SafeRobot returned it.
        """
        colour = REFUSED if answer.refused is not None else CLIPPED if answer.clipped else SENT
        self._extend(before[:3, 3], answer, colour)
        # A refused pose may be of another frame, or no pose at all.
        drawable = answer.frame_id == self._frame and bool(np.isfinite(answer.pose).all())
        header = Header(stamp=stamp, frame_id=self._frame)
        return MarkerArray(
            markers=[self._line(header), _arrow(header, answer, colour, drawable), self._words(header, before, answer)]
        )

    def _extend(self, start: np.ndarray, answer: Command, colour: ColorRGBA) -> None:
        if self._dry_run:
            self._clear()
            if answer.refused is None:
                for k in range(self._ahead + 1):
                    self._append(start + k * (answer.pose[:3, 3] - start), colour)
        elif answer.refused is None:
            last = self._points[-1] if self._points else None
            if (
                last is None
                or answer.session != self._session
                or np.abs(start - (last.x, last.y, last.z)).max() > _JUMP_M
            ):
                self._clear()
                self._append(start, colour)
            self._session = answer.session
            self._append(answer.pose[:3, 3], colour)

    def _clear(self) -> None:
        self._points.clear()
        self._colours.clear()

    def _append(self, position: np.ndarray, colour: ColorRGBA) -> None:
        x, y, z = position.tolist()
        self._points.append(Point(x=x, y=y, z=z))
        self._colours.append(colour)

    def _line(self, header: Header) -> Marker:
        if len(self._points) < 2:
            return _nothing(header, "path")
        lifetime = _LIFETIME if self._dry_run else Duration()  # the way behind stays, until the next session
        return Marker(
            header=header,
            ns="path",
            type=Marker.LINE_STRIP,
            action=Marker.ADD,
            scale=_LINE,
            color=_WHITE,
            lifetime=lifetime,
            points=list(self._points),
            colors=list(self._colours),
        )

    def _words(self, header: Header, before: np.ndarray, answer: Command) -> Marker:
        lines = [f"DRY RUN, nothing is sent: the newest step, continued for {AHEAD_S:g} s"] if self._dry_run else []
        if answer.refused is not None:
            lines.append(f"refused: {answer.refused}")
        elif answer.clipped:
            lines.append(f"clipped: {', '.join(answer.clipped)}")
        if not lines:
            return _nothing(header, "words")
        marker = Marker(
            header=header,
            ns="words",
            type=Marker.TEXT_VIEW_FACING,
            action=Marker.ADD,
            scale=_TEXT,
            color=_WHITE,
            lifetime=_LIFETIME,
            text="\n".join(lines),
            pose=convert.matrix_to_pose(before),
        )
        marker.pose.position.z += _TEXT_ABOVE_M
        return marker


def _arrow(header: Header, answer: Command, colour: ColorRGBA, drawable: bool) -> Marker:
    """At the command's pose, along the gripper."""
    if not drawable:
        return _nothing(header, "target")
    return Marker(
        header=header,
        ns="target",
        type=Marker.ARROW,
        action=Marker.ADD,
        scale=_ARROW,
        color=colour,
        lifetime=_LIFETIME,
        pose=convert.matrix_to_pose(np.asarray(answer.pose)),
    )


def _nothing(header: Header, namespace: str) -> Marker:
    return Marker(header=header, ns=namespace, action=Marker.DELETE)
