"""SafeRobot: a robot behind the safety filter, the only road to its motors."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from mqe_core.runtime.robot import Clock, Command, Robot, RobotState
from mqe_core.runtime.safety import SafetyFilter
from mqe_core.runtime.safety_rules import JOINT_STATE
from mqe_core.runtime.target_limits import lag
from mqe_core.spec import RobotSpec


class SafeRobot:
    """A robot behind the safety filter; itself a Robot. The last sent target and the session live here, on
    the arm's side.
    """

    def __init__(self, robot: Robot, spec: RobotSpec, clock: Clock) -> None:
        self.spec = spec
        self.counts: Counter[str] = Counter()  # how often each rule clipped or refused
        self._robot = robot
        self._clock = clock
        self._filter = SafetyFilter(spec)

    def observe(self) -> RobotState:
        return self._robot.observe()

    def send(self, command: Command) -> Command:
        """Filter, send, and return what was really sent; a refused command leaves the arm holding."""
        try:
            state = self._robot.observe()
        except RuntimeError as error:  # an arm that cannot be read is not driven
            result = replace(
                command, joints=None, clipped=(), refused=JOINT_STATE, detail=str(error)
            )  # unjudged: it takes no session
        else:
            now = self._clock.now()
            result = self._filter.filter(command, state, now)
            if result.refused is None:
                result = self._robot.send(result)
            self._filter.commit(result, now)
        if result.refused is not None:
            self._robot.hold()
            self.counts[result.refused] += 1
        self.counts.update(result.clipped)
        return result

    def hold(self) -> None:
        self._robot.hold()

    def close(self) -> None:
        self._robot.close()

    def inspect(self) -> tuple[RobotState | None, tuple[str, str] | None]:
        """The newest state (None where the arm cannot be read), and (rule, detail) where the arm may not be
        driven now.
        """
        try:
            state = self._robot.observe()
        except RuntimeError as error:
            return None, (JOINT_STATE, str(error))
        return state, self._filter.fault(state, self._clock.now())

    def release_session(self) -> None:
        """Let any session command next; without it a session ends by `max_command_age_s` of silence."""
        self._filter.release_session()

    def resume(self) -> bool:
        """Make the arm ready to move again; True where the target had to be re-based on the measured pose.

        Within the tracking tolerances the last sent target stays, so that hold and resume again and again do
        not walk a sagging arm down. Farther away (somebody moved the arm, a collision) the measured pose
        becomes the target, so that nothing jumps. Raises RuntimeError where the joints cannot be trusted.
        """
        state, fault = self.inspect()
        if state is None or fault is not None:
            raise RuntimeError(f"the arm cannot resume: {': '.join(fault)}")
        lag_m, lag_rad = lag(state.target_pose, state.pose)
        control = self.spec.control
        if lag_m <= control.tracking_tolerance_m and lag_rad <= control.tracking_tolerance_rad:
            return False
        self.rebase()
        return True

    def rebase(self) -> None:
        """Make the measured pose the target: after the arm was moved by something other than sends (a hand, a
        scene's reset). RuntimeError where the arm cannot be observed, or does not take the target.
        """
        sent = self._robot.send(self._filter.rebase(self._robot.observe()))
        if sent.refused is not None:
            raise RuntimeError(f"the target was not re-based: {sent.refused}: {sent.detail}")
