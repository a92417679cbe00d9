"""A scripted expert: sees the true poses, acts in Bridge actions at 5 Hz.

It is reactive. But for the events below, every action is a function of what a camera could see as well: where the hand
and the things are, and how far the fingers are open. It depends on no memory and no timer. So a policy that sees one
image can imitate it, and it recovers from whatever happens. Small noise, wandering while the hand moves freely, makes
the data a tube around many paths.

In stated shares of the episodes something happens. A disturbance takes the arm away first: for some steps, begun at any
moment of the first stage, the hand drifts anywhere and the gripper may open or close. Only what follows is worth
imitating, so `record_from` is the step at which the disturbance is over: the data shows how errors are corrected, not
how they are made. Two things that people do in play are recorded as they happen: a pause, and a failed grasp, in which
the fingers close above the thing, come up empty, and try again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.geometry import pose_to_state
from mqe_sim.tasks import Task

_STEP_GAIN = 0.5  # share of the remaining way per step, so that it slows down before it is there
_MAX_STEP_M, _MAX_STEP_RAD = 0.038, 0.15
_MAX_AHEAD_M = 0.08  # the target is never further from the hand, so that it does not run away from a blocked one
_REACH_M = 0.43  # of the hand, pointing down, from the base's axis
_WANDER_M, _WHITE_M = 0.003, 0.001  # noise on the action, per step
# So many of the episodes are drawn for each event, none for two.
EVENT_SHARES = {"disturbance": 0.6, "pause": 0.06, "failed grasp": 0.06}
_LAST_EVENT_STEP = 36  # about when an undisturbed episode of one stage retreats
_DISTURBANCE_STEPS = (2, 7)  # half-open range
_DRIFT_M, _DRIFT_RAD = 0.030, 0.03  # per step and axis, uniform ±
_DRIFT_LOW_M, _DRIFT_HIGH_M = np.array([0.17, -0.12, 0.012]), np.array([0.37, 0.14, 0.20])  # where a drift stops
_NUDGE_SHARE, _NUDGE_SCALE = 0.5, 0.35  # of the disturbances are so much weaker: near misses rather than long ways
_GRIPPER_FLIP_SHARE = 0.4
_PAUSE_STEPS = (3, 11)  # half-open range
_EMPTY_GRASP_M = (0.055, 0.085)  # height of the hand at which the fingers begin to close too early
_EMPTY_CLOSE_STEPS, _EMPTY_LIFT_STEPS, _EMPTY_LIFT_M = 3, 3, 0.025


@dataclass(frozen=True, eq=False)
class Plan:
    """What to do now."""

    next_m: Floats  # (3,) where to go, base frame
    gripper: float  # 1 = open
    yaw_rad: float = 0.0  # how the hand should be turned, from the tool pointing straight down
    free: bool = False  # the way there is free of contact, so may wander
    finished: bool = False  # everything is done and the hand is where it ends, mostly home


# Of a task (each script knows one kind), the hand (3,) in m, and the measured gripper.
Planner = Callable[[Any, Floats, float], Plan]


class Oracle:
    """One episode's expert; `act` is called once per control step.

    Args:
        task: the scene.
        planner: the script, a pure function.
        rng: source of all its noise.
        noise: scale of the noise and of the events' shares; 0 gives the plain script.
        events: whether any of EVENT_SHARES may happen.

    Attributes:
        event: what has happened so far, a key of EVENT_SHARES or None. An event that was drawn may find no moment
            before the episode is over.
        record_from: the step at which the disturbance, if any, is over; known from the start.
        done: the task is solved and the hand is where it ends.
    """

    def __init__(
        self, task: Task, planner: Planner, rng: np.random.Generator, noise: float = 1.0, events: bool = True
    ) -> None:
        self._task, self._planner, self._rng, self._noise = task, planner, rng, noise
        self._wander: Floats = np.zeros(3)
        self._steps = 0
        chances = [events * noise * share for share in EVENT_SHARES.values()]
        self.event: str | None = None
        drawn = [*EVENT_SHARES, None][int(rng.choice(len(chances) + 1, p=[*chances, 1.0 - sum(chances)]))]
        first = int(rng.integers(0, _LAST_EVENT_STEP))
        disturbed, paused = first + int(rng.integers(*_DISTURBANCE_STEPS)), first + int(rng.integers(*_PAUSE_STEPS))
        self._disturbed = range(first, disturbed) if drawn == "disturbance" else range(0)
        self._paused = range(first, paused) if drawn == "pause" else range(0)
        self.record_from = self._disturbed.stop
        self._empty_grasp_m = float(rng.uniform(*_EMPTY_GRASP_M)) if drawn == "failed grasp" else 0.0
        self._empty_steps = 0  # of a failed grasp, done
        self._gripper = 1.0  # last commanded
        self._drift = np.concatenate([rng.uniform(-_DRIFT_M, _DRIFT_M, 3), rng.uniform(-_DRIFT_RAD, _DRIFT_RAD, 3)])
        self._drift *= _NUDGE_SCALE if rng.random() < _NUDGE_SHARE else 1.0
        self._flip_gripper = bool(rng.random() < _GRIPPER_FLIP_SHARE)
        self.done = False

    def act(self, target_pose: Floats, measured_pose: Floats) -> Floats:
        """Action (7,) for the arm's commanded and measured poses (4, 4); sets `done` at the end."""
        plan = self._planner(self._task, measured_pose[:3, 3], self._task.world.arm.gripper())
        hand, target = measured_pose[:3, 3], target_pose[:3, 3]
        step, self._steps = self._steps, self._steps + 1
        self.done = plan.finished and step not in self._disturbed
        if step in self._disturbed:
            self.event = "disturbance"
            action = self._drift_away(plan, target)
        elif step in self._paused:
            self.event = "pause"
            action = np.array([*np.zeros(6), self._gripper])
        elif self._grasps_nothing(plan, hand):
            self.event, self._empty_steps = "failed grasp", self._empty_steps + 1
            lifts = self._empty_steps > _EMPTY_CLOSE_STEPS
            action = np.array([0.0, 0.0, lifts * _EMPTY_LIFT_M, 0.0, 0.0, 0.0, 0.0])
        else:
            action = self._follow(plan, target_pose, hand)
        self._gripper = float(action[6])
        return action

    def stage_actions(self, target_pose: Floats, measured_pose: Floats) -> Floats:
        """(stages, 7): what the script would do now, without noise, if it wanted this stage alone; NaN for those that
        are not open. It draws nothing and changes nothing.
        """
        task, hand = self._task, measured_pose[:3, 3]
        actions = np.full((len(task.stages()), 7), np.nan)
        for stage in task.open_stages():
            plan = self._planner(task.only(stage), hand, task.world.arm.gripper())
            actions[stage] = _step(plan, target_pose, hand, np.zeros(3))
        return actions

    def _drift_away(self, plan: Plan, target: Floats) -> Floats:
        drift = self._drift.copy()
        drift[:3] = np.clip(target + drift[:3], _DRIFT_LOW_M, _DRIFT_HIGH_M) - target
        return np.concatenate([drift, [1.0 - plan.gripper if self._flip_gripper else plan.gripper]])

    def _grasps_nothing(self, plan: Plan, hand: Floats) -> bool:
        """Whether a failed grasp goes on or begins. It begins on the way down with open fingers, below the height drawn
        for it.
        """
        if self._empty_steps > 0:
            return self._empty_steps < _EMPTY_CLOSE_STEPS + _EMPTY_LIFT_STEPS
        return plan.gripper == 1.0 and plan.next_m[2] < hand[2] - 0.01 and hand[2] < self._empty_grasp_m

    def _follow(self, plan: Plan, target_pose: Floats, hand: Floats) -> Floats:
        """One bounded step towards the plan's next point, with noise."""
        self._wander = 0.7 * self._wander + self._noise * self._rng.normal(0.0, _WANDER_M, 3)
        white = self._noise * self._rng.normal(0.0, _WHITE_M, 3)
        return _step(plan, target_pose, hand, plan.free * self._wander + white)


def _step(plan: Plan, target_pose: Floats, hand: Floats, noise_m: Floats) -> Floats:
    """One bounded step (7,) towards the plan's next point, with `noise_m` (3,) added."""
    target = target_pose[:3, 3]
    delta = _STEP_GAIN * (plan.next_m - hand)  # from where the hand is seen, not from where it was sent
    longest = np.abs(delta).max()
    if longest > _MAX_STEP_M:
        delta *= _MAX_STEP_M / longest
    delta = delta + noise_m
    ahead = np.clip(target + delta, hand - _MAX_AHEAD_M, hand + _MAX_AHEAD_M)
    ahead[:2] *= min(1.0, _REACH_M / np.linalg.norm(ahead[:2]))
    delta = ahead - target
    turn = np.array([0.0, 0.0, plan.yaw_rad]) - pose_to_state(target_pose, 0.0)[3:6]
    rotation = np.clip(_STEP_GAIN * turn, -_MAX_STEP_RAD, _MAX_STEP_RAD)
    return np.concatenate([delta, rotation, [plan.gripper]])
