"""Promise: the demo's report shows what the bag holds, and a bag without commands is an error instead of an
empty report.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mqe_bringup", reason="the ROS workspace is not built: make setup")

from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer

from mqe_bringup import demo
from mqe_bringup.picture import SPEED, moving_picture, write_pictures
from mqe_bringup.report import read_recording, write_report
from mqe_core.runtime.robot import Command
from mqe_interfaces.msg import ArmStatus, PolicyStatus
from mqe_ros import convert, topics
from mqe_ros.record_node import own_typestore, type_name

OUTCOME = {
    "task": "place1",
    "seed": 3,
    "score": 1.0,
    "max_score": 1.0,
    "success": True,
    "outcome": "timeout",
    "steps": 10,
    "seconds": 2.0,
}


def stamp(seconds: float) -> Time:
    return Time(sec=int(seconds), nanosec=int(round(1e9 * (seconds % 1.0))))


def write_bag(folder: Path, commands: int, steps_to_goal: float | None) -> None:
    """Two seconds of images at 10 Hz, and commands at 5 Hz whose images were taken 60 ms earlier."""
    types = own_typestore()
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {
            t.name: writer.add_connection(t.name, type_name(t.type), typestore=types) for t in topics.RECORDED
        }

        def write(topic: topics.Topic, seconds: float, message: object) -> None:
            writer.write(connections[topic.name], int(1e9 * seconds), serialize_message(message))

        for k in range(20):
            image = np.full((24, 32, 3), 10 * k, np.uint8)
            write(topics.IMAGE, 100 + 0.1 * k, convert.array_to_image(image, stamp(100 + 0.1 * k), "camera"))
        write(
            topics.GOAL_IMAGE,
            100.0,
            convert.array_to_image(np.full((24, 32, 3), 200, np.uint8), stamp(100), "camera"),
        )
        for k in range(commands):
            t = 100.1 + 0.2 * k
            command = Command(
                pose=np.eye(4), gripper=float(k < 5), stamp=0.0, session="s", sequence=k + 1, frame_id="base"
            )
            seen = convert.Observation(stamp(t - 0.06), 0)
            distance = None if steps_to_goal is None else steps_to_goal - k
            write(
                topics.COMMAND,
                t,
                convert.command_to_message(command, np.zeros(7), distance, stamp(t), seen),
            )
            write(topics.POLICY_STATUS, t, PolicyStatus(state=PolicyStatus.RUNNING, deadline_misses=2))
            write(
                topics.ARM_STATUS,
                t,
                ArmStatus(state=ArmStatus.MOVING, clipped=["workspace"] if k == 3 else []),
            )


def test_the_report_shows_what_the_bag_holds(tmp_path: Path) -> None:
    import imageio_ffmpeg

    write_bag(tmp_path / "bag", commands=10, steps_to_goal=12.0)
    recording = read_recording(tmp_path / "bag")
    np.testing.assert_allclose(np.diff(recording.command_times), 0.2, atol=1e-6)
    np.testing.assert_allclose(recording.latencies_ms, 60.0, atol=1e-3)
    assert (
        recording.steps_to_goal.tolist() == list(range(12, 2, -1))
        and recording.grippers.tolist() == [1.0] * 5 + [0.0] * 5
    )
    assert (recording.deadline_misses, dict(recording.rules), len(recording.frames)) == (
        2,
        {"workspace": 1},
        20,
    )

    summary = write_report(tmp_path, ["backend: <sim>"], OUTCOME)
    assert summary.startswith("demo: success, score 1 of 1; 10 commands in 2.0 s; report: ") and "\n" not in summary
    page = (tmp_path / "report.html").read_text()
    for said in (
        "place1, seed 3",
        "p50 200.0, p99 200.0 ms",
        "p50 60.0, p99 60.0 ms",
        "workspace 1",
        "video.mp4",
        "steps_to_goal.png",
        "&lt;sim&gt;",
    ):
        assert said in page
    frames = imageio_ffmpeg.read_frames(str(tmp_path / "video.mp4"))
    about = next(frames)
    assert about["fps"] == pytest.approx(10.0, rel=0.01)
    pictures = [np.frombuffer(frame, np.uint8).reshape(*about["size"][::-1], 3) for frame in frames]
    assert len(pictures) == 20
    left, right = (
        pictures[-1][: pictures[-1].shape[0] // 2, 100:200],
        pictures[-1][: pictures[-1].shape[0] // 2, -200:-100],
    )
    # The last image beside the goal.
    assert abs(float(left.mean()) - 190) < 5 and abs(float(right.mean()) - 200) < 5


def test_a_policy_without_a_critic_gets_a_report_as_well(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", commands=10, steps_to_goal=None)
    assert "no success" in write_report(tmp_path, [], {**OUTCOME, "score": 0.0, "success": False})
    assert (tmp_path / "steps_to_goal.png").stat().st_size > 1000


def test_a_bag_without_commands_is_an_error(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", commands=0, steps_to_goal=1.0)
    with pytest.raises(RuntimeError, match="0 commands"):
        write_report(tmp_path, [], OUTCOME)


def test_the_moving_picture_shows_the_drive_beside_its_goal(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", commands=10, steps_to_goal=12.0)
    pictures, shown_ms = moving_picture(read_recording(tmp_path / "bag"))
    # The drive takes 1.8 s from its first command to its last frame; the first and the last picture stay longer.
    assert sum(shown_ms[1:-1]) == pytest.approx(1000 * 1.8 / SPEED, abs=200) and min(shown_ms[0], shown_ms[-1]) > 500
    left, right = (np.asarray(pictures[-1])[:200, columns] for columns in (slice(100, 200), slice(-200, -100)))
    assert abs(float(left.mean()) - 190) < 5 and abs(float(right.mean()) - 200) < 5
    moving, curve = write_pictures(tmp_path, tmp_path / "assets")
    assert Image.open(moving).n_frames == len(pictures) and Image.open(curve).width > 500


@pytest.mark.slow
def test_the_demo_drives_records_and_reports(constant_policy: Path, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [
        sys.executable,
        "-m",
        "mqe_bringup.demo",
        "--seed",
        "3",
        "--policy",
        str(constant_policy),
        "--out",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 3, done.stderr  # this policy only goes straight on
    offered, summary = done.stdout.strip().splitlines()[-2:]
    assert "mqe up goal:=drawer_place.png console:=true" in offered
    assert summary.startswith("demo: no success, score 0 of 2")
    assert {"video.mp4", "steps_to_goal.png", "report.html", "bag", "drawer_place.png"} <= {
        path.name for path in out.iterdir()
    }


def test_demo_and_pictures_leave_alone_what_stands_there(tmp_path: Path, synthetic_store: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "demo.webp").write_text("precious")
    for out in (taken, synthetic_store, synthetic_store / "inside", taken / "demo.webp"):
        with pytest.raises(ValueError, match="left alone|lies inside"):
            demo.run(None, "", out)
    for out in (taken, synthetic_store):
        with pytest.raises(ValueError, match="left alone|lies inside"):
            write_pictures(tmp_path / "no demo", out)
    assert [path.name for path in taken.iterdir()] == ["demo.webp"]
