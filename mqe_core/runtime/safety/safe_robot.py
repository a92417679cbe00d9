"""SafeRobot: a robot behind the safety filter, the only road to its motors."""

from __future__ import annotations

from collections import Counter

from mqe_core.robot.safety_rules import JOINT_STATE
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Clock, Command, Robot, RobotState
from mqe_core.runtime.safety.safety_filter import SafetyFilter
from mqe_core.runtime.safety.target_limits import follows
from mqe_core.runtime.safety.verdict import Refusal, refused


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

    def send(self, asked: Command) -> Command:
        """Send what the filter allows. Returns the answer: what was really sent, or what was refused, by filter or
        backend. A refused command leaves the arm holding.
        """
        answer = self._judge_and_send(asked)
        if answer.refused is not None:
            self._robot.hold()
            self.counts[answer.refused] += 1
        self.counts.update(answer.clipped)
        return answer

    def _judge_and_send(self, asked: Command) -> Command:
        try:
            state = self._robot.observe()
        except RuntimeError as error:  # an arm that cannot be read is not driven; unjudged, it takes no session
            return refused(asked, Refusal(JOINT_STATE, str(error)))
        verdict = self._filter.judge(asked, state, self._clock.now())
        if verdict.allowed is None:
            assert verdict.refusal is not None  # it has one of the two
            answer = refused(asked, verdict.refusal)
        else:
            answer = self._robot.send(verdict.allowed)
        self._filter.record(verdict, answer)
        return answer

    def hold(self) -> None:
        self._robot.hold()

    def close(self) -> None:
        self._robot.close()

    def inspect(self) -> tuple[RobotState | None, Refusal | None]:
        """The newest state, None where the arm cannot be read; and why it may not be driven now, None where it may."""
        try:
            state = self._robot.observe()
        except RuntimeError as error:
            return None, Refusal(JOINT_STATE, str(error))
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
        if fault is not None:
            raise RuntimeError(f"the arm cannot resume: {': '.join(fault)}")
        assert state is not None  # else there is a fault
        self._filter.forget_session()  # a sequence beyond all others would lock its session out for good
        if follows(state.target_pose, state.pose, self.spec.control):
            return False
        self.rebase()
        return True

    def rebase(self) -> None:
        """Make the measured pose the target: after the arm was moved by something other than sends (a hand, a
        scene's reset). RuntimeError where the arm cannot be observed, or does not take the target.
        """
        command, found = self._filter.rebase(self._robot.observe())
        answer = self._robot.send(command)
        if answer.refused is not None:
            raise RuntimeError(f"the target was not re-based: {answer.refused}: {answer.detail}")
        self._filter.record_rebase(found)
