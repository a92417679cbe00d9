"""Putting objects onto their targets: the first one that is not there yet, then the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_sim.objects import ObjectKind, TargetKind
from mqe_sim.oracles.moves import HOVER_M, funnel, go, opened, ramp
from mqe_sim.oracles.oracle import Plan
from mqe_sim.tasks.home import HOME_STATE
from mqe_sim.tasks.place import HEIGHT_TOLERANCE_M

_GRASP_HEIGHT_M = 0.018  # of the hand above what the object stands on
_BETWEEN_M = np.array([0.012, 0.014, 0.012])  # hand to grasp point, per axis: the object is between the fingers
_RELEASE_ABOVE_M = 0.008  # an object this little above its place may drop
_GRASP_FUNNEL_M, _CARRY_FUNNEL_M = 0.030, 0.016  # the object must not catch on a bowl's rim
_CENTRED_M = 0.022  # an object may be so far off-centre when it is let go
_MARGIN_M = 0.006  # one must lie so much nearer than needed to be left alone


@dataclass(frozen=True, eq=False)
class Errand:
    """One object and where it belongs, as they are now; positions (3,) in m."""

    kind: ObjectKind
    place: TargetKind
    position: Floats
    yaw_rad: float
    target: Floats

    @property
    def top_m(self) -> float:
        """Height of the object's top."""
        return float(self.position[2] + self.kind.height_m / 2)

    @property
    def grasp(self) -> Floats:
        """(3,): where the hand takes hold of the object."""
        return self.position + [0.0, 0.0, _GRASP_HEIGHT_M - self.kind.height_m / 2]

    def held_by(self, hand: Floats) -> bool:
        """Whether the object is between the fingers, closed or not."""
        return bool((np.abs(hand - self.grasp) < _BETWEEN_M).all())

    def done(self, hand: Floats) -> bool:
        """Whether the object is where it belongs, or would be when let go."""
        held = self.held_by(hand)
        near_m = _CENTRED_M if held else self.place.centred_m - _MARGIN_M
        above_m = _RELEASE_ABOVE_M if held else HEIGHT_TOLERANCE_M  # one that leans on something does not count
        over = float(np.linalg.norm(self.position[:2] - self.target[:2])) < near_m
        return over and self.position[2] < self.place.support_m + self.kind.height_m / 2 + above_m


def next_errand(hand: Floats, opening: float, errands: Sequence[Errand], things: Sequence[Errand]) -> Plan | None:
    """Next step, or None when all are done and the hand is free. `things` are all that lie about, errands or not."""
    held = [errand for errand in errands if errand.held_by(hand)]
    if any(errand.done(hand) for errand in held):
        return let_go(hand, opening)
    if held:
        return _carry(hand, opening, held[0])
    waiting = [errand for errand in errands if not errand.done(hand)]
    return _fetch(hand, opening, waiting[0], things) if waiting else None


def let_go(hand: Floats, opening: float) -> Plan:
    """Open, and rise only as far as the fingers are open."""
    return Plan(np.array([*hand[:2], hand[2] + opened(opening) * HOVER_M]), 1.0)


def go_home(hand: Floats, things: Sequence[Errand]) -> Plan:
    """Away from the nearest object without pushing it, then home."""
    obstacle = _nearest(hand, things)
    home = float(np.linalg.norm(hand - HOME_STATE[:3])) < 0.03
    return Plan(
        go(hand, HOME_STATE[:3], obstacle.position, obstacle.top_m), 1.0, free=_above(hand, obstacle), finished=home
    )


def _fetch(hand: Floats, opening: float, errand: Errand, things: Sequence[Errand]) -> Plan:
    """Over the object, and down with open fingers."""
    grasp, obstacle = errand.grasp, _nearest(hand, things)
    height = funnel(hand, grasp, grasp[2] if grasp[2] < 0.06 else HOVER_M, _GRASP_FUNNEL_M)
    height = max(height, (1.0 - opened(opening)) * HOVER_M)
    next_m = go(hand, np.array([*grasp[:2], height]), obstacle.position, obstacle.top_m)
    return Plan(next_m, 1.0, yaw_rad=errand.yaw_rad, free=_above(hand, obstacle))


def _carry(hand: Floats, opening: float, errand: Errand) -> Plan:
    """Close, lift as far as the fingers are closed, go over the target and down."""
    held, target = errand.position, errand.target
    in_the_air = ramp(held[2], 0.04, 0.06)  # held for sure, even one so wide that the fingers look open
    closed = max(1.0 - opened(opening), in_the_air)
    height = funnel(held, target, errand.place.support_m + errand.kind.height_m / 2, _CARRY_FUNNEL_M)
    lifted = ramp(held[2] - errand.kind.height_m / 2, 0.01, 0.05)
    over_target = float(np.linalg.norm(held[:2] - target[:2])) < _CARRY_FUNNEL_M
    xy = hand[:2] + closed * (1.0 if over_target else lifted) * (target[:2] - held[:2])
    return Plan(np.array([*xy, hand[2] + closed * (height - held[2])]), 0.0, free=lifted == 1.0 and not over_target)


def _nearest(hand: Floats, things: Sequence[Errand]) -> Errand:
    return min(things, key=lambda thing: float(np.linalg.norm(hand[:2] - thing.position[:2])))


def _above(hand: Floats, obstacle: Errand) -> bool:
    return bool(hand[2] > obstacle.top_m + 0.03)
