"""ControlLoop: camera, policy and arm at the control rate, in one process.

Ticks have absolute deadlines t0 + k · period, so no error adds up. A tick that ends after the next deadline
is a miss: it is counted, the deadlines that have passed are skipped, and nothing is sent twice to catch up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable

from mqe_core.runtime.policy_side import Decision, PolicySide
from mqe_core.runtime.robot import Camera, Clock, Command, Frame, Robot, RobotState


@dataclass(frozen=True, eq=False)
class StepResult:
    """One tick. `command` is what the robot says was really sent, or None where the policy's side decided not
    to command.
    """

    step: int
    deadline: float
    late_s: float  # how long after its deadline the tick began
    frame: Frame | None
    state: RobotState
    decision: Decision
    command: Command | None

    @property
    def held(self) -> str | None:
        """Why the arm was not moved in this tick; None where it was."""
        return self.command.refused if self.command is not None else self.decision.held


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
        self._tick = 0  # index of the next deadline
        self._step = 0

    def step(self) -> StepResult:
        """Wait for the next deadline and do one tick. What cannot be done holds the arm; a broken robot
        or camera raises RuntimeError.
        """
        if self._start is None:
            self._start = self._clock.now()
        deadline = self._start + self._tick * self._period
        self._clock.sleep_until(deadline)
        late = self._clock.now() - deadline
        frame = self._camera.read()
        state = self._robot.observe()
        decision = self._policy.compute(frame, state.pose, state.target_pose)
        command = None
        if decision.command is None:
            self._robot.hold()
        else:
            command = self._robot.send(decision.command)
        result = StepResult(self._step, deadline, late, frame, state, decision, command)
        self._step += 1
        self._tick += 1
        passed = (self._clock.now() - self._start) / self._period
        if passed > self._tick + 1e-6:
            self.deadline_misses += 1
            self._tick = math.ceil(passed)
        return result

    def run(self, steps: int, on_step: Callable[[StepResult], bool | None] | None = None) -> int:
        """Do up to `steps` ticks, or fewer where `on_step` returns True; the arm holds at the end, whatever
        ends it. Returns ticks done.
        """
        try:
            for done in range(1, steps + 1):
                result = self.step()
                if on_step is not None and on_step(result):
                    return done
            return steps
        finally:
            self._robot.hold()
