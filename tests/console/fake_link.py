"""A graph that is none, for the page's tests. To look at the page: `python tests/console/fake_link.py [PORT]`."""

from __future__ import annotations

import math
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from mqe_core import images
from mqe_core.console.console import Console, Thresholds
from mqe_core.console.goals_folder import GoalsFolder, Meaning
from mqe_core.console.hands import Hands
from mqe_core.console.link import (
    CANCEL,
    HOLD,
    HOME,
    RESUME,
    SEND,
    ArmView,
    Diagnosis,
    EpisodesView,
    Line3D,
    Picture,
    PolicyView,
    Scene,
    Snapshot,
)
from mqe_core.console.listening import listening
from mqe_core.console.recordings import Recordings
from mqe_core.policy.domain import SIM
from mqe_core.robot.episode_marks import DISCARD, LABEL, START, STOP
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.teleop.devices import load_devices
from mqe_core.user_files import goal_folders

SPEC = load_robot_spec()


class FakeLink:
    """Answers as a graph would, and remembers what it was asked for.

    Args:
        speaks: whether its nodes say anything.
    """

    def __init__(self, speaks: bool = True) -> None:
        self.asked: list[tuple[str, str]] = []
        self.refuses = ""  # the words with which everything is refused
        self.hears = True  # whether the arm's status follows
        self.speaks = speaks
        self._begun = time.monotonic()
        self._arm = ArmView(0.0, "ready")
        self._policy = PolicyView(0.0, "idle")
        self._episodes = EpisodesView(0, False)
        rng = np.random.default_rng(0)
        ramp = np.add.outer(np.arange(480), np.arange(640)) % 256
        self._base = np.stack([ramp, ramp[::-1], rng.integers(0, 40, (480, 640)) + 100], axis=-1).astype(np.uint8)

    def snapshot(self) -> Snapshot:
        if not self.speaks:
            return Snapshot()
        now = time.monotonic()
        t = now - self._begun
        policy = replace(self._policy, heard=now)
        if policy.state == "running":
            policy = replace(policy, steps_to_goal=max(0.5, 28.0 - t % 30 + math.sin(3 * t)), latency_ms=53.0)
        joints = SPEC.neutral_rad + 0.2 * np.sin(0.5 * t) * np.array([1, 0.3, 0.2, 0, 0.5, 0])
        target = np.eye(4)
        target[:3, 3] = (0.28, 0.05 * math.sin(t), 0.12)
        path = np.array([[0.22 + 0.003 * k, 0.05 * math.sin(0.2 * k), 0.12] for k in range(20)])
        chosen = np.array([[0.28, 0.05 * math.sin(t), 0.12], [0.3, 0.05, 0.05]])
        return Snapshot(
            arm=replace(self._arm, heard=now),
            policy=policy,
            episodes=self._episodes,
            diagnoses={
                "arm_node": Diagnosis(now, 0, self._arm.state, {"commands": "120", "temperature_max_c": "41"}),
                "policy_node": Diagnosis(now, 1, "goal place; its picture is unlike the training data", {}),
            },
            rates={"/camera/image_raw": 30.0, "/policy/command": 5.0, "/arm/status": 10.0},
            scene=Scene(joints, 1.0, target, Line3D(path, "#1acc33"), (Line3D(chosen, "#e626d9"),)),
        )

    def picture_number(self, name: str) -> int:
        if not self.speaks:
            return 0
        return 1 if name in ("goal", "reference") else 1 + int(30.0 * (time.monotonic() - self._begun))

    def picture(self, name: str) -> Picture | None:
        number = self.picture_number(name)
        if number == 0:
            return None
        pictures = {
            "goal": lambda: self._base[:, ::-1].copy(),
            "reference": lambda: images.squash_resize(self._base, 128),
            "camera": lambda: np.roll(self._base, 3 * number, axis=1),
        }
        return Picture(number, time.monotonic(), pictures[name]())

    def do(self, act: str, text: str = "") -> str:
        self.asked.append((act, text))
        if self.refuses:
            raise RuntimeError(self.refuses)
        if self.hears:
            self._follow(act, text)
        return f"{act} {text}".strip()

    def _follow(self, act: str, text: str) -> None:
        """What the nodes' statuses say after it."""
        if act == HOLD:
            self._arm = ArmView(0.0, "held", "operator")
        elif act == RESUME:
            self._arm = ArmView(0.0, "ready")
        elif act == HOME:
            self._arm = ArmView(0.0, "moving", "homing")
        elif act == SEND:
            self._policy = PolicyView(0.0, "running", "", text)
        elif act == CANCEL:
            self._policy = PolicyView(0.0, "idle", "canceled", self._policy.goal)
        elif act == START:
            self._episodes = replace(
                self._episodes, number=self._episodes.number + 1, is_open=True, began=time.monotonic(), label=""
            )
        elif act == STOP:
            self._episodes = replace(self._episodes, is_open=False, kept=self._episodes.kept + 1)
        elif act == DISCARD:
            self._episodes = replace(self._episodes, is_open=False, discarded=self._episodes.discarded + 1)
        elif act == LABEL:
            self._episodes = replace(self._episodes, label=text)


def fake_console(link: FakeLink, own_goals: Path, recordings: Path) -> Console:
    """A console of that link, with the shipped goals."""
    devices, shipped = load_devices(), goal_folders()[1:]
    meaning = Meaning(SPEC.camera, SIM, task="place1", seed=1)
    goals = GoalsFolder(own_goals, shipped)
    thresholds = Thresholds(3.0, 60.0, stalls=True)
    return Console(link, Hands(devices), SPEC, devices, goals, meaning, Recordings(recordings), thresholds)


def main() -> None:
    from mqe_core.console.server import ConsoleServer

    folder = Path(tempfile.mkdtemp())
    port = sys.argv[1] if sys.argv[1:] else "8080"
    server = ConsoleServer(fake_console(FakeLink(), folder, Path("runs/bags")), listening(f"127.0.0.1:{port}"))
    print(server.where.link, flush=True)
    server.start()
    try:
        while server.failure is None:
            time.sleep(0.2)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
