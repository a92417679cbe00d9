"""What the safety filter costs per command: `python benchmarks/safety_filter.py`.

Wall time, and time of the processor, which other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from mqe_core.robot.geometry import euler_to_rotation
from mqe_core.robot.spec import RobotSpec, load_robot_spec
from mqe_core.runtime.loopback import LoopbackRobot
from mqe_core.runtime.robot import Command
from mqe_core.runtime.safety.safety_filter import SafetyFilter
from mqe_core.runtime.safety.verdict import refused

# Standard deviations of a step, m and rad per axis, as random as they are: harder on the filter than a policy.
_STREAMS = {"small steps": (0.01, 0.03), "steps near the limits": (0.03, 0.12), "steps far beyond them": (0.10, 0.50)}


class _Clock:
    time = 0.0

    def now(self) -> float:
        return self.time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=4000)
    count = parser.parse_args().commands
    spec = load_robot_spec()
    print("| commands | sent as asked | clipped | refused | wall p50 | wall p99 | processor, mean | processor, p99 |")
    print("|---|---|---|---|---|---|---|---|")
    for name, scales in _STREAMS.items():
        wall, processor, outcomes = _measure(spec, count, *scales)
        shares = [f"{100 * np.mean(outcomes == kind):.0f}%" for kind in ("sent", "clipped", "refused")]
        times = [np.median(wall), np.percentile(wall, 99), processor.mean(), np.percentile(processor, 99)]
        print(f"| {name} | {' | '.join(shares)} | {' | '.join(f'{1e3 * value:.2f} ms' for value in times)} |")


def _measure(
    spec: RobotSpec, count: int, translation: float, rotation: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds of wall and of the processor for judging each command, and what became of it."""
    clock, rng = _Clock(), np.random.default_rng(0)
    arm, filter_ = LoopbackRobot(spec, clock=clock), SafetyFilter(spec)
    wall, processor, outcomes = np.zeros(count), np.zeros(count), []
    for k in range(count):
        clock.time += spec.control.period_s
        state = arm.observe()
        pose = state.target_pose.copy()
        pose[:3, 3] += rng.normal(0.0, translation, 3)
        pose[:3, :3] = euler_to_rotation(rng.normal(0.0, rotation, 3)) @ pose[:3, :3]
        asked = Command(pose, 1.0, clock.time, "benchmark", k, spec.base_frame)
        wall[k], processor[k] = -time.perf_counter(), -time.thread_time()
        verdict = filter_.judge(asked, state, clock.time)
        wall[k], processor[k] = wall[k] + time.perf_counter(), processor[k] + time.thread_time()
        answer = refused(asked, verdict.refusal) if verdict.allowed is None else arm.send(verdict.allowed)
        filter_.record(verdict, answer)
        outcomes.append("refused" if answer.refused else "clipped" if answer.clipped else "sent")
    return wall, processor, np.array(outcomes)


if __name__ == "__main__":
    main()
