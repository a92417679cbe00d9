"""What `mqe run` tells: a line per second on the terminal, and the sum of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mqe_core.policy.reachability import UNREACHABLE
from mqe_core.robot.safety_rules import CLIP_RULES
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.control_loop import ControlLoop, StepResult
from mqe_core.runtime.recorder import RunRecorder
from mqe_core.runtime.safety.safe_robot import SafeRobot


@dataclass(frozen=True)
class RunSummary:
    """What happened in a run, also as summary.json; None for what was not measured.

    `kept_because` counts the control steps in which the arm kept its target, by reason; `clipped` those in which a rule
    of the safety filter changed the command, by rule. `refused` says why the goal was refused, which ended the run.
    """

    name: str
    steps: int
    mean_hz: float | None
    deadline_misses: int
    late_ms_p99: float
    policy_ms_p50: float
    policy_ms_p99: float
    first_steps_to_goal: float | None
    last_steps_to_goal: float | None
    kept_because: dict[str, int]
    clipped: dict[str, int]
    score: float | None
    max_score: float | None
    refused: str | None

    def one_line(self) -> str:
        """For the terminal; what was not measured is left out."""
        parts = [f"{self.name}: {self.steps} steps"]
        if self.mean_hz is not None:
            parts[0] += f" at {self.mean_hz:.2f} Hz"
        if self.refused is not None:
            parts.append(f"the goal is unreachable: {self.refused}; --anyway pursues it")
        if self.score is not None:
            parts.append(f"score {self.score:g} of {self.max_score:g}")
        if self.last_steps_to_goal is not None:
            parts.append(f"steps to goal {self.first_steps_to_goal:.1f} -> {self.last_steps_to_goal:.1f}")
        parts.append(f"policy {self.policy_ms_p50:.1f} ms (p99 {self.policy_ms_p99:.1f})")
        parts.append(f"{self.deadline_misses} deadline misses")
        for what, counts in (("clipped", self.clipped), ("kept its target", self.kept_because)):
            if counts:
                parts.append(f"{what}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
        return "; ".join(parts)


@dataclass(frozen=True)
class _Step:
    """The numbers of one control step. Frames are not kept: those of an hour would not fit in memory."""

    began_s: float
    late_s: float
    latency_s: float
    steps_to_goal: float | None


class RunReport:
    """Counts the steps, prints a status line per second, and sums up."""

    def __init__(self, spec: RobotSpec, loop: ControlLoop, robot: SafeRobot, recorder: RunRecorder | None) -> None:
        self._spec, self._loop, self._robot, self._recorder = spec, loop, robot, recorder
        self._per_second = max(1, round(spec.control.control_hz))
        self._steps: list[_Step] = []
        self._kept: dict[str, int] = {}
        self._refused: str | None = None

    def note(self, result: StepResult) -> bool:
        """One step of the loop. True where the goal is refused: no other step follows."""
        if self._recorder is not None:
            self._recorder.add(result)
        reason = result.kept_because
        if reason is not None:
            self._kept[reason] = self._kept.get(reason, 0) + 1
        output = result.decision.output
        steps_to_goal = None if output is None else output.steps_to_goal
        began_s = result.deadline + result.late_s
        self._steps.append(_Step(began_s, result.late_s, result.decision.latency_s, steps_to_goal))
        if len(self._steps) % self._per_second == 0:
            print(self._status(result, steps_to_goal), flush=True)
        if reason == UNREACHABLE:
            self._refused = result.decision.detail
        return self._refused is not None

    def _status(self, result: StepResult, steps_to_goal: float | None) -> str:
        x, y, z = 1000.0 * result.state.pose[:3, 3]
        seconds = len(self._steps) / self._spec.control.control_hz
        distance = "" if steps_to_goal is None else f"  {steps_to_goal:6.1f} steps to goal"
        clipped = () if result.answer is None else result.answer.clipped
        reason = result.kept_because
        state = f"kept its target: {reason}" if reason is not None else f"clipped: {', '.join(clipped) or 'nothing'}"
        return (
            f"{seconds:6.1f} s{distance}  at ({x:4.0f}, {y:4.0f}, {z:4.0f}) mm  gripper "
            f"{result.state.gripper:.2f}  {state}"
        )

    def summary(self, name: str, score: tuple[float, float] | None) -> RunSummary:
        """What happened; `score` is (score, highest score). Needs a step or more."""
        seconds = self._steps[-1].began_s - self._steps[0].began_s
        latencies_ms = [1e3 * step.latency_s for step in self._steps]
        distances = [step.steps_to_goal for step in self._steps if step.steps_to_goal is not None]
        return RunSummary(
            name=name,
            steps=len(self._steps),
            mean_hz=(len(self._steps) - 1) / seconds if seconds > 0 else None,
            deadline_misses=self._loop.deadline_misses,
            late_ms_p99=float(np.percentile([1e3 * step.late_s for step in self._steps], 99)),
            policy_ms_p50=float(np.percentile(latencies_ms, 50)),
            policy_ms_p99=float(np.percentile(latencies_ms, 99)),
            first_steps_to_goal=distances[0] if distances else None,
            last_steps_to_goal=distances[-1] if distances else None,
            kept_because=self._kept,
            clipped={rule: self._robot.counts[rule] for rule in CLIP_RULES if self._robot.counts[rule]},
            score=None if score is None else score[0],
            max_score=None if score is None else score[1],
            refused=self._refused,
        )
