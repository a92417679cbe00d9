"""What a policy chose among, as markers for rviz2 and Foxglove: a short way for each candidate, the chosen one bold.

A candidate is one step, some millimetres long. It is drawn as if the policy kept to it for a second: where that step
sets out to, and no plan.
"""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from mqe_core.robot.geometry import apply_action
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.policy_side import Candidates

AHEAD_S = 1.0
CHOSEN = ColorRGBA(r=0.9, g=0.15, b=0.85, a=1.0)
_NEAR, _FAR = np.array([0.1, 0.5, 1.0, 1.0]), np.array([0.75, 0.75, 0.75, 0.8])  # r, g, b, a: by distance to the goal
_LIFETIME = Duration(sec=1)  # without a newer command they go
_BOLD, _THIN = Vector3(x=0.006), Vector3(x=0.002)  # m
_TEXT, _TEXT_ABOVE_M = Vector3(z=0.02), 0.12  # of the hand: over the arm's own words, where few ways lead


class CandidateMarkers:
    """Markers of one robot's candidates, in its base frame."""

    def __init__(self, spec: RobotSpec) -> None:
        self._frame = spec.base_frame
        self._steps = round(AHEAD_S * spec.control.control_hz)

    def markers(self, candidates: Candidates, target: np.ndarray, measured: np.ndarray, stamp: Time) -> MarkerArray:
        """Args:
        target: (4, 4), really commanded last: where each way begins.
        measured: (4, 4), the pivot of each step's rotation.
        """
        header = Header(stamp=stamp, frame_id=self._frame)
        begin = target[:3, 3]
        actions, distances = candidates.actions.astype(np.float64), candidates.distances.astype(np.float64)
        steps = np.array([apply_action(target, action, measured)[:3, 3] - begin for action in actions])  # (N, 3)
        ends = begin + self._steps * steps
        others = np.arange(len(ends)) != candidates.chosen
        others &= np.isfinite(ends).all(axis=1) & np.isfinite(distances)  # the policy's side looked at the chosen one
        return MarkerArray(
            markers=[
                _others(header, begin, ends[others], distances[others]),
                _chosen(header, begin, ends[candidates.chosen]),
                _words(header, begin, candidates.chosen, distances, others),
            ]
        )


def _others(header: Header, begin: np.ndarray, ends: np.ndarray, distances: np.ndarray) -> Marker:
    if len(ends) == 0:
        return Marker(header=header, ns="candidates", action=Marker.DELETE)
    spread = float(np.ptp(distances)) or 1.0
    shares = ((distances - distances.min()) / spread)[:, None]  # 0 for the nearest one, 1 for the farthest
    colours = [ColorRGBA(r=r, g=g, b=b, a=a) for r, g, b, a in ((1 - shares) * _NEAR + shares * _FAR).tolist()]
    start = _point(begin)
    return Marker(
        header=header,
        ns="candidates",
        type=Marker.LINE_LIST,
        action=Marker.ADD,
        scale=_THIN,
        color=colours[0],
        lifetime=_LIFETIME,
        points=[point for end in ends for point in (start, _point(end))],
        colors=[colour for colour in colours for _ in range(2)],
    )


def _chosen(header: Header, begin: np.ndarray, end: np.ndarray) -> Marker:
    return Marker(
        header=header,
        ns="chosen",
        type=Marker.LINE_STRIP,
        action=Marker.ADD,
        scale=_BOLD,
        color=CHOSEN,
        lifetime=_LIFETIME,
        points=[_point(begin), _point(end)],
    )


def _words(header: Header, begin: np.ndarray, chosen: int, distances: np.ndarray, others: np.ndarray) -> Marker:
    """The chosen one's distance, beside that of the nearest other one; which may be nearer, by the policy's margin."""
    text = f"{distances[chosen]:.1f} steps to the goal"
    if others.any():
        second = float(distances[others].min())
        kept = ", kept" if second < distances[chosen] else ""
        text = f"{text}{kept}; second of {len(distances)}: {second:.1f}"
    marker = Marker(
        header=header,
        ns="distances",
        type=Marker.TEXT_VIEW_FACING,
        action=Marker.ADD,
        scale=_TEXT,
        color=CHOSEN,
        lifetime=_LIFETIME,
        text=text,
    )
    marker.pose.position = _point(begin)
    marker.pose.position.z += _TEXT_ABOVE_M
    marker.pose.orientation.w = 1.0
    return marker


def _point(position: np.ndarray) -> Point:
    x, y, z = position.tolist()
    return Point(x=x, y=y, z=z)
