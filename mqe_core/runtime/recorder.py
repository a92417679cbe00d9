"""RunRecorder: one run of the control loop as plain files, for a look afterwards.

goal.png        the goal image as it was given
frames/*.jpg    what the policy saw, by step
steps.csv       per step: times, why the target was kept, what was clipped, measured and commanded state, action
summary.json    written last; a folder without it is a run that did not end by itself
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

from mqe_core.files.disk import write_atomically, write_new, writing
from mqe_core.files.kinds import DRIVE
from mqe_core.files.outputs import check_folder
from mqe_core.images import encode_jpeg, encode_png
from mqe_core.policy.contract import ACTION_NAMES
from mqe_core.robot.arrays import Images
from mqe_core.robot.geometry import pose_to_state
from mqe_core.runtime.control_loop import StepResult

_STATE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
_COLUMNS = (
    "step",
    "deadline_s",
    "late_ms",
    "latency_ms",
    "frame_age_ms",
    "kept_because",
    "clipped",
    "detail",
    *(f"measured_{n}" for n in _STATE_NAMES),
    *(f"target_{n}" for n in _STATE_NAMES),
    *(f"action_{n}" for n in ACTION_NAMES),
    "steps_to_goal",
)


class RunRecorder:
    """Writes as the run goes on; `out` must not exist or be empty, so that no run is written over another."""

    def __init__(self, out: str | Path, goal: Images) -> None:
        self.out = Path(out)
        check_folder(self.out, DRIVE)
        with writing(self.out):
            (self.out / "frames").mkdir(parents=True, exist_ok=True)
            (self.out / "goal.png").write_bytes(encode_png(goal))
            self._file = (self.out / "steps.csv").open("w", newline="", encoding="utf-8")
            self._table = csv.writer(self._file)
            self._table.writerow(_COLUMNS)

    def add(self, result: StepResult) -> None:
        """Note one step. The target is the one in force after it; what was absent stays empty. WriteError where the
        disk does not take it.
        """
        with writing(self.out):
            self._add(result)

    def _add(self, result: StepResult) -> None:
        state, answer, decision = result.state, result.answer, result.decision
        target = (
            pose_to_state(answer.pose, answer.gripper)
            if answer is not None and answer.refused is None
            else pose_to_state(state.target_pose, state.target_gripper)
        )
        output = decision.output
        began = result.deadline + result.late_s
        self._table.writerow(
            [
                result.step,
                f"{result.deadline:.4f}",
                f"{1e3 * result.late_s:.2f}",
                f"{1e3 * decision.latency_s:.2f}",
                "" if result.frame is None else f"{1e3 * (began - result.frame.stamp):.1f}",
                result.kept_because or "",
                " ".join(answer.clipped) if answer is not None else "",
                answer.detail if answer is not None else "",
                *(f"{v:.6f}" for v in pose_to_state(state.pose, state.gripper)),
                *(f"{v:.6f}" for v in target),
                *(["" for _ in ACTION_NAMES] if output is None else (f"{v:.6f}" for v in output.action)),
                "" if output is None or output.steps_to_goal is None else f"{output.steps_to_goal:.3f}",
            ]
        )
        self._file.flush()
        if result.frame is not None:
            write_new(self.out / "frames" / f"{result.step:06d}.jpg", encode_jpeg(result.frame.image))

    def close(self, summary: dict[str, object] | None) -> None:
        """End the table, and write the summary where the run came to its end."""
        with writing(self.out):
            self._file.close()
        if summary is not None:
            write_atomically(self.out / "summary.json", (json.dumps(summary, indent=1) + "\n").encode())
