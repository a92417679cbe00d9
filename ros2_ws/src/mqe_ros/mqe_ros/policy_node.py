"""The policy as a node: camera images and the arm's poses in, absolute targets out at the control rate.

A managed (lifecycle) node that configures and activates itself at its start, unless `self_activate` is false. Its other
parameters (`parameters.POLICY_NODE`) are read at each configuration.
"""

from __future__ import annotations

import math
import sys
import time

from diagnostic_msgs.msg import DiagnosticStatus

from mqe_interfaces.action import ReachGoal
from mqe_ros.goal_run import GoalRun
from mqe_ros.goal_server import STOPPED, GoalServer
from mqe_ros.managed_node import ManagedNode
from mqe_ros.parameters import POLICY_NODE
from mqe_ros.policy_configuration import PolicyConfiguration, read_configuration
from mqe_ros.policy_inputs import PolicyInputs
from mqe_ros.policy_loop import PolicyLoop
from mqe_ros.running import run_node

_LAST_WORDS_S = 0.3  # DDS loses what it has not delivered when its sender goes


class PolicyNode(ManagedNode):
    """Callbacks store the newest messages; the control thread computes, then publishes at a fixed slot."""

    def __init__(self) -> None:
        super().__init__("policy_node", POLICY_NODE)
        self._goals = GoalServer(self)
        self._configuration: PolicyConfiguration | None = None
        self._loop: PolicyLoop | None = None
        self._leave_at = -math.inf

    def configure(self) -> None:
        self._configuration = configuration = read_configuration(self.value_of)
        domain, contract, slot = configuration.domain, configuration.policy.contract, configuration.slot
        given = self.value_of("compressed"), self.value_of("max_pose_age_s")
        inputs = PolicyInputs(self, configuration.spec, domain, *given)
        self._loop = PolicyLoop(self, configuration, inputs, self._goals)
        camera, prepare = configuration.spec.camera.name, configuration.policy.prepare
        self._goals.configure(configuration.goal_folders, domain, camera, prepare)
        if configuration.first_goal is not None:
            prepare(configuration.first_goal.image)
        self.get_logger().info(
            f"policy {configuration.name} ({contract.agent}, {contract.domain} images), session {self._loop.session}"
        )
        self.get_logger().info(f"commands are published {1e3 * slot.seconds:.0f} ms after each tick ({slot.origin})")
        if slot.problem:
            self.get_logger().warning(slot.problem)

    def activate(self) -> None:
        assert self._configuration is not None and self._loop is not None
        self._goals.open()
        goal = self._configuration.first_goal
        if goal is not None:
            run = GoalRun(goal.name, goal.image, goal.domain, None, self._goals.on_end(None))
            if self.value_of("autostart"):
                self._goals.begin(run)
            else:
                self._loop.show_goal(run)

    def deactivate(self) -> None:
        self._goals.close()

    def cleanup(self) -> None:
        if self._configuration is not None:
            self._configuration.close()
        self._configuration = self._loop = None
        self._goals.unconfigure()

    def finish(self) -> bool:
        """Whoever asked for a goal hears how it ended before the node goes."""
        if self.lifecycle_state == "active":
            self._leave_at = time.monotonic() + (0.0 if self._goals.settled else _LAST_WORDS_S)
            self._goals.close(STOPPED)  # as the deactivation would, but for another reason
            self.trigger_deactivate()
        return self._goals.settled and time.monotonic() >= self._leave_at

    def destroy_node(self) -> None:
        self._goals.destroy()
        super().destroy_node()

    def control(self) -> None:
        assert self._loop is not None
        self._loop.run()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        state, configuration, loop = self.lifecycle_state, self._configuration, self._loop
        if configuration is None or loop is None:
            return DiagnosticStatus.WARN, f"{state}: {self.problem}" if self.problem else state, {"lifecycle": state}
        values = {
            "lifecycle": state,
            "policy": configuration.name,
            "fingerprint": configuration.policy.fingerprint,
            "domain": configuration.domain,
            **loop.figures(),
        }
        if state != "active":
            return DiagnosticStatus.WARN, state, values
        goal = self._goals.current
        problem = "; ".join(filter(None, (loop.input_problem(), loop.picture_problem(), configuration.slot.problem)))
        refused = goal is None and self._goals.last_outcome == ReachGoal.Result.UNREACHABLE
        problem = "; ".join(filter(None, (problem, self._goals.last_end if refused else "")))
        said = f"goal {goal.name}" if goal else "no goal"
        return (DiagnosticStatus.WARN, f"{said}; {problem}", values) if problem else (DiagnosticStatus.OK, said, values)


def main() -> None:
    sys.exit(run_node(PolicyNode))


if __name__ == "__main__":
    main()
