"""What `mqe run` tells: a line per second on the terminal, and the sum of it."""

from __future__ import annotations

import numpy as np

from mqe_core.runtime.control_loop import ControlLoop, StepResult
from mqe_core.runtime.recorder import RunRecorder
from mqe_core.runtime.safe_robot import SafeRobot
from mqe_core.runtime.safety_rules import CLIP_RULES
from mqe_core.spec import RobotSpec


class RunReport:
    """Counts the steps, prints a status line per second, and sums up."""

    def __init__(self, spec: RobotSpec, loop: ControlLoop, robot: SafeRobot, recorder: RunRecorder | None) -> None:
        self._spec, self._loop, self._robot, self._recorder = spec, loop, robot, recorder
        self._per_second = max(1, round(spec.control.control_hz))
        self._results: list[
            tuple[float, float, float, float | None]
        ] = []  # began, late, policy latency (s), steps to goal
        self._held: dict[str, int] = {}

    def note(self, result: StepResult) -> None:
        """One step of the loop."""
        if self._recorder is not None:
            self._recorder.add(result)
        if result.held is not None:
            self._held[result.held] = self._held.get(result.held, 0) + 1
        # Only the numbers are kept: frames of an hour would not fit in memory.
        output = result.decision.output
        distance = None if output is None else output.steps_to_goal
        self._results.append((result.deadline + result.late_s, result.late_s, result.decision.latency_s, distance))
        if len(self._results) % self._per_second == 0:
            x, y, z = 1000.0 * result.state.pose[:3, 3]
            seconds = len(self._results) / self._spec.control.control_hz
            steps_to_goal = self._results[-1][3]
            distance = "" if steps_to_goal is None else f"  {steps_to_goal:6.1f} steps to goal"
            state = (
                f"held: {result.held}"
                if result.held is not None
                else f"clipped: {', '.join(result.command.clipped) or 'nothing'}"
            )
            print(
                f"{seconds:6.1f} s{distance}  at ({x:4.0f}, {y:4.0f}, {z:4.0f}) mm  gripper "
                f"{result.state.gripper:.2f}  {state}",
                flush=True,
            )

    def summary(self, name: str, score: tuple[float, float] | None) -> dict[str, object]:
        """What happened, for people and for summary.json; `score` is (score, highest score). Needs a step or more."""
        began, late, latency, distance = zip(*self._results)
        seconds = began[-1] - began[0]
        return {
            "name": name,
            "steps": len(self._results),
            "mean_hz": (len(began) - 1) / seconds if seconds > 0 else None,
            "deadline_misses": self._loop.deadline_misses,
            "late_ms_p99": float(1e3 * np.percentile(late, 99)),
            "policy_ms_p50": float(1e3 * np.percentile(latency, 50)),
            "policy_ms_p99": float(1e3 * np.percentile(latency, 99)),
            "first_steps_to_goal": next((d for d in distance if d is not None), None),
            "last_steps_to_goal": next((d for d in reversed(distance) if d is not None), None),
            "held": self._held,
            "clipped": {rule: self._robot.counts[rule] for rule in CLIP_RULES if self._robot.counts[rule]},
            "score": None if score is None else score[0],
            "max_score": None if score is None else score[1],
        }


def one_line(summary: dict[str, object]) -> str:
    """`RunReport.summary` as one line for the terminal; what was not measured is left out."""
    parts = [f"{summary['name']}: {summary['steps']} steps"]
    if summary["mean_hz"] is not None:
        parts[0] += f" at {summary['mean_hz']:.2f} Hz"
    if summary["score"] is not None:
        parts.append(f"score {summary['score']:g} of {summary['max_score']:g}")
    if summary["last_steps_to_goal"] is not None:
        parts.append(f"steps to goal {summary['first_steps_to_goal']:.1f} -> {summary['last_steps_to_goal']:.1f}")
    parts.append(f"policy {summary['policy_ms_p50']:.1f} ms (p99 {summary['policy_ms_p99']:.1f})")
    parts.append(f"{summary['deadline_misses']} deadline misses")
    for what in ("clipped", "held"):
        if summary[what]:
            parts.append(f"{what}: " + ", ".join(f"{name} {count}" for name, count in sorted(summary[what].items())))
    return "; ".join(parts)
