"""ControlLoop: camera, policy and arm at the control rate, in one process.

Steps begin at absolute deadlines t0 + k · period, so no error adds up. A step that ends after the next deadline is a
miss: it is counted, the deadlines that have passed are skipped, and nothing is sent twice to catch up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from mqe_core.runtime.policy_side import Decision, PolicySide
from mqe_core.runtime.robot import Camera, Clock, Command, Frame, Robot, RobotState
from mqe_core.runtime.safety.tolerances import DUE_PERIODS


@dataclass(frozen=True, eq=False)
class StepResult:
    """One step of the loop.

    Attributes:
        step: counts from 0.
        deadline: when it was to begin, monotonic s.
        late_s: how long after that it began.
        frame: the newest camera image, None where there was none.
        state: the arm's before the step.
        decision: the policy's side's, with the command that it asked for.
        answer: what the robot really sent, or with `refused` set what it did not; None where no command was asked for.
    """

    step: int
    deadline: float
    late_s: float
    frame: Frame | None
    state: RobotState
    decision: Decision
    answer: Command | None

    @property
    def kept_because(self) -> str | None:
        """Why the arm kept its last target in this step: a rule, or a reason of the policy's side. None where it got a
        new one.
        """
        return self.answer.refused if self.answer is not None else self.decision.reason


class ControlLoop:
    """Drives `robot` by `policy` until it is told to stop. The robot should be a `SafeRobot`; the clock is
    shared by all parts.
    """

    def __init__(self, robot: Robot, camera: Camera, policy: PolicySide, clock: Clock, control_hz: float) -> None:
        self.deadline_misses = 0
        self._robot = robot
        self._camera = camera
        self._policy = policy
        self._clock = clock
        self._period = 1.0 / control_hz
        self._start: float | None = None
        self._next_deadline = 0  # its index k
        self._steps = 0

    def step(self) -> StepResult:
        """Wait for the next deadline and do one step. Where it cannot be done the arm holds; a broken robot or camera
        raises RuntimeError.
        """
        if self._start is None:
            self._start = self._clock.now()
        deadline = self._start + self._next_deadline * self._period
        self._clock.sleep_until(deadline)
        late = self._clock.now() - deadline
        frame = self._camera.read()
        state = self._robot.observe()
        decision = self._policy.compute(frame, state.pose, state.target_pose)
        answer = None
        if decision.asked is None:
            self._robot.hold()
        else:
            answer = self._robot.send(decision.asked)
        result = StepResult(self._steps, deadline, late, frame, state, decision, answer)
        self._steps += 1
        self._next_deadline += 1
        passed = (self._clock.now() - self._start) / self._period
        if passed > self._next_deadline + DUE_PERIODS:
            self.deadline_misses += 1
            self._next_deadline = math.ceil(passed)
        return result

    def run(self, steps: int, on_step: Callable[[StepResult], bool | None] | None = None) -> int:
        """Do up to `steps` steps, or fewer where `on_step` returns True; returns how many. The arm holds at the end,
        whatever ends it.
        """
        try:
            for done in range(1, steps + 1):
                result = self.step()
                if on_step is not None and on_step(result):
                    return done
            return steps
        finally:
            self._robot.hold()
