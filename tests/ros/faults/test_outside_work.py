"""Promise: whatever is sent from outside, the arm gets its commands without a gap of more than two control periods."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import Image

from mqe_core.images import encode_png
from mqe_interfaces.action import ReachGoal
from mqe_interfaces.msg import EndEffectorCommand
from mqe_ros import topics
from tests.ros.faults.fault_rig import HOLD_S, SPEC, Rig
from tests.ros.ros_helpers import Goal

pytestmark = pytest.mark.faults
MEANING = (
    f"camera: {SPEC.camera.name}\nresize_rule: squash-lanczos\ndomain: real\ncapture_pose: [0.2, 0, 0.2, 0, 0, 0, 1]\n"
)


def large(path: Path) -> None:
    """36 megapixels."""
    path.write_bytes(encode_png(np.zeros((6000, 6000, 3), np.uint8)))


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**31)


def most_that_is_taken(path: Path) -> None:
    """A picture of noise: nothing takes longer to read."""
    path.write_bytes(encode_png(np.random.default_rng(0).integers(0, 256, (1500, 2600, 3), dtype=np.uint8)))


def nested(path: Path) -> None:
    path.write_bytes(encode_png(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)))
    path.with_suffix(".yaml").write_text("[" * 30_000)


@pytest.mark.parametrize(
    ("what", "make"),
    [
        ("a goal picture of 36 megapixels", large),
        ("a goal file of 2 GB (sparse)", sparse),
        ("a goal that is a pipe", os.mkfifo),
        ("a goal's YAML of 30,000 brackets", nested),
        ("a goal picture of noise, 4 megapixels", most_that_is_taken),
    ],
    ids=["large", "sparse", "pipe", "nested", "most"],
)
def test_a_goal_that_is_much_work_stops_no_command(
    rig: Rig, note, tmp_path: Path, what: str, make: Callable[[Path], None]
) -> None:
    (tmp_path / "made.yaml").write_text(MEANING)
    make(tmp_path / "made.png")
    begun = time.monotonic()
    ended = Goal(rig.client, ReachGoal.Goal(goal_file=str(tmp_path / "made.png"), timeout_s=2.0)).result()
    pause = rig.pauses(begun).max()
    is_taken = make is most_that_is_taken
    assert ended.outcome == (ReachGoal.Result.TIMEOUT if is_taken else ReachGoal.Result.FAILED) and ended.reason
    note(what, f"moves on; longest pause {pause:.2f} s", ended.reason.split(": ")[-1][:60], "nothing to recover from")
    if is_taken:  # the goal of the rig is gone: as an operator would, ask for it again
        again = ReachGoal.Goal(goal_file=str(rig.folder / "swing.png"), timeout_s=3600.0)
        Goal(rig.client, again)
    assert pause <= HOLD_S


def test_messages_that_are_much_work_stop_no_command(rig: Rig, note) -> None:
    """A picture of 36 megapixels and a session of 30 MB: dropped before anything is made of them."""
    client = rig.client
    image = Image(encoding="rgb8", height=6000, width=6000, step=18000, data=bytes(6000 * 18000))
    command = EndEffectorCommand(session="a" * 30_000_000, target=client.newest("/arm/ee_pose").pose)
    for topic, message, what in (
        (topics.COMMAND, command, "a command with a session of 30 MB"),
        (topics.IMAGE, image, "a camera image of 36 megapixels"),
    ):
        publisher = client.publisher(topic)
        peak_before = peak(rig.processes["arm"].pid)
        begun = time.monotonic()
        publisher.publish(message)
        client.spin(2.0)
        if topic is topics.IMAGE:  # while there are two cameras the arm waits: what counts is when the other has gone
            begun = time.monotonic()
        client.node.destroy_publisher(publisher)
        client.spin(1.0)
        pause = rig.pauses(begun).max()
        grown = peak(rig.processes["arm"].pid) - peak_before
        note(what, f"moves on; longest pause {pause:.2f} s", f"arm_node +{grown} MB at its peak", "nothing to recover")
        assert pause <= HOLD_S and grown < 150
        rig.settle()


def peak(pid: int) -> int:
    """The most memory that the process ever held, MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1000 for line in lines if line.startswith("VmHWM"))
