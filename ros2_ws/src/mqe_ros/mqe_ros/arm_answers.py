"""What became of the commands that were sent for a goal: /arm/status names the newest command, and what refused it."""

from __future__ import annotations

import threading

from mqe_interfaces.msg import ArmStatus
from mqe_ros.remedies import refusal


class ArmAnswers:
    """The answers to one session's commands since `begin`.

    `hear` is called by the executor, everything else by the control thread.
    """

    def __init__(self, session: str) -> None:
        self._session = session
        self._condition = threading.Condition()
        self._refused = 0
        self._sent = 0  # the sequence number of the newest command
        self._newest = 0  # the one that was answered last
        self._why = ""  # it was refused; empty where it was not

    def begin(self) -> None:
        """Forget what was refused so far: another goal begins."""
        with self._condition:
            self._refused, self._why = 0, ""

    def send(self, sequence: int) -> None:
        """A command with this number is about to be sent: answers to later ones are none."""
        with self._condition:
            self._sent = sequence

    def hear(self, status: ArmStatus) -> None:
        """One /arm/status. It may be of another session's command, or say again what is known."""
        with self._condition:
            if status.session != self._session or not self._newest < status.sequence <= self._sent:
                return
            self._newest = status.sequence
            self._refused += bool(status.refused)
            self._why = refusal(status.refused, status.reason) if status.refused else ""
            self._condition.notify_all()

    def wait_for(self, sequence: int, timeout_s: float) -> None:
        """Return when that command is answered, or after `timeout_s`."""
        with self._condition:
            self._condition.wait_for(lambda: self._newest >= sequence, timeout_s)

    @property
    def refused(self) -> tuple[int, str]:
        """How many commands, and why the newest one, for people: empty where it was not, or is not answered yet."""
        with self._condition:
            return self._refused, self._why
