"""The rig with an operator, by whatever device: what every test of one asks."""

from __future__ import annotations

import time

from mqe_interfaces.msg import ArmStatus
from tests.ros.faults.fault_rig import Rig

ARM, LET_GO = "/arm/status", "the operator let go"
WAIT = "after a release and a press it moves on ({:.1f} s in all)"


class ByHand:
    """`take`, of each device: the operator moves the arm, whoever did before; the moment of the press."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    def take(self) -> float:
        raise NotImplementedError

    @property
    def status(self) -> ArmStatus:
        return self.rig.client.newest(ARM)

    def holds(self, since: float) -> float:
        """Seconds until the arm held; it is held for the operator, and the policy is refused."""
        held = self.rig.wait_for_hold(since)
        self.rig.wait(lambda: self.status.state == ArmStatus.HELD, "the state held")
        assert LET_GO in self.status.reason and self.status.commander == "operator"
        return held

    def nothing_moves(self, since: float) -> None:
        """For a while."""
        self.rig.client.spin(1.5)
        assert len(self.rig.motions(since)) == 0 and self.status.state == ArmStatus.HELD

    def goes_on(self) -> float:
        """Seconds from a release to a motion."""
        begun = time.monotonic()
        return float(self.rig.motions(self.take())[0] - begun)
