"""What can be said of a command before any look at the arm: its form, its frame, its age, and who sends it when."""

from __future__ import annotations

import numpy as np

from mqe_core.files.bounded import shown
from mqe_core.robot.safety_rules import (
    LONG_SESSION,
    NOT_A_POSE,
    NOT_FINITE,
    OUT_OF_ORDER,
    STALE,
    TOO_SOON,
    WRONG_FRAME,
    WRONG_SESSION,
)
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Command
from mqe_core.runtime.safety.tolerances import LAST_ROW, ORTHOGONAL, ROUNDING
from mqe_core.runtime.safety.verdict import Refusal

# Refused by these, a command does not count as heard from its session.
UNHEARD = (NOT_FINITE, NOT_A_POSE, WRONG_FRAME, LONG_SESSION, STALE, WRONG_SESSION, OUT_OF_ORDER)
_MOST_SESSION_BYTES = 256  # ours have 15; it is kept, published and logged
_SOONEST_PERIODS = 0.5  # after the last sent command


class CommandCheck:
    """Judges form, frame, age and sender. One session commands at a time, until it is silent for
    `max_command_age_s`.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self._control, self._base_frame = spec.control, spec.base_frame
        self._session: str | None = None
        self._sequence = 0
        self._heard = -np.inf

    def refusal(self, asked: Command, now: float, last_sent: float | None) -> Refusal | None:
        """Why the command is refused, None where nothing speaks against it. `last_sent`: when the last one was sent."""
        return self._bad_form(asked) or self._wrong_sender(asked, now) or self._too_soon(now, last_sent)

    def record(self, answer: Command, now: float) -> None:
        """Note that the sender was heard, whatever became of its command. A bad command does not count."""
        if answer.refused not in UNHEARD:
            self._session, self._sequence, self._heard = answer.session, answer.sequence, now

    def release_session(self) -> None:
        """Let any session command next; the last one may go on only with a higher sequence."""
        self._heard = -np.inf

    def forget_session(self) -> None:
        """Let any session command next with any sequence, also the last one: an operator begins anew."""
        self._session, self._sequence, self._heard = None, 0, -np.inf

    def _bad_form(self, asked: Command) -> Refusal | None:
        pose = np.asarray(asked.pose, dtype=np.float64)
        if pose.shape != (4, 4):
            return Refusal(NOT_A_POSE, f"expected a (4, 4) pose, got shape {pose.shape}")
        if not (np.isfinite(pose).all() and np.isfinite(asked.gripper) and np.isfinite(asked.stamp)):
            return Refusal(NOT_FINITE, f"position {pose[:3, 3].tolist()}, gripper {asked.gripper}, stamp {asked.stamp}")
        rotation = pose[:3, :3]
        # The bound on the entries first: squares of absurd numbers would overflow.
        off = float(np.abs(rotation @ rotation.T - np.eye(3)).max()) if np.abs(rotation).max() < 2.0 else np.inf
        if off > ORTHOGONAL or np.linalg.det(rotation) < 0 or np.abs(pose[3] - [0, 0, 0, 1]).max() > LAST_ROW:
            return Refusal(NOT_A_POSE, f"rotation off by {off:.3g}, last row {pose[3].tolist()}")
        if asked.frame_id != self._base_frame:
            return Refusal(WRONG_FRAME, f"expected frame {self._base_frame!r}, got {shown(asked.frame_id)}")
        length = len(asked.session.encode(errors="replace"))
        if length > _MOST_SESSION_BYTES:
            return Refusal(LONG_SESSION, f"a session of {length} bytes, at most {_MOST_SESSION_BYTES} are taken")
        return None

    def _wrong_sender(self, asked: Command, now: float) -> Refusal | None:
        age, most = now - asked.stamp, self._control.max_command_age_s
        if not -ROUNDING <= age <= most:
            return Refusal(STALE, f"age {age:.3f} s, allowed 0 to {most} s")
        if asked.session == self._session:
            if asked.sequence <= self._sequence:
                return Refusal(OUT_OF_ORDER, f"sequence {asked.sequence} after {self._sequence}")
        elif self._session is not None and now - self._heard <= most:
            return Refusal(
                WRONG_SESSION,
                f"session {asked.session!r} while {self._session!r} commands the arm; "
                f"it is free after {most} s of silence",
            )
        return None

    def _too_soon(self, now: float, last_sent: float | None) -> Refusal | None:
        soonest = _SOONEST_PERIODS * self._control.period_s
        if last_sent is not None and now - last_sent < soonest:
            return Refusal(TOO_SOON, f"{now - last_sent:.3f} s after the last one, allowed from {soonest:.3f} s")
        return None
