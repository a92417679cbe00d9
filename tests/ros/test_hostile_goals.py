"""Promise: a goal request ends with an outcome and a reason of less than a kilobyte, whatever is in it, and the goal in
force goes on.

Real processes on the mock backend, started once for the whole file.
"""

from __future__ import annotations

import os
import socket
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from sensor_msgs.msg import Image

from mqe_bringup.supervisor import Supervisor
from mqe_core.images import encode_png
from mqe_interfaces.action import ReachGoal
from tests.ros.ros_helpers import Client, Goal, reach

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
MEANING = (
    "camera: over_shoulder\nresize_rule: squash-lanczos\ndomain: sim\n"
    "capture_pose: [0.2, 0, 0.2, 0, 0, 0, 1]\ntask: place1\nseed: 4\n"
)


def made(folder: Path, png: bytes | None = None, meaning: str | bytes = MEANING) -> str:
    (folder / "made.png").write_bytes(encode_png(PICTURE) if png is None else png)
    (folder / "made.yaml").write_bytes(meaning if isinstance(meaning, bytes) else meaning.encode())
    return str(folder / "made.png")


def pipe(folder: Path, name: str) -> str:
    made(folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    return str(folder / "made.png")


def sparse(folder: Path, name: str) -> str:
    made(folder)
    with (folder / name).open("wb") as file:
        file.truncate(2**31)
    return str(folder / "made.png")


def with_seed(folder: Path, seed: str) -> str:
    return made(folder, meaning=MEANING.replace("seed: 4", f"seed: {seed}"))


def large_picture() -> bytes:
    """36 megapixels, which are few bytes."""
    return encode_png(np.zeros((6000, 6000, 3), np.uint8))


def looped(folder: Path) -> str:
    for one, other in (("made.png", "b.png"), ("b.png", "made.png")):
        (folder / one).symlink_to(folder / other)
    return str(folder / "made.png")


def socketed(folder: Path) -> str:
    made(folder)
    (folder / "made.png").unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "made.png"))
    return str(folder / "made.png")


def grown(kind: bytes, size: int) -> bytes:
    """A PNG of 32x24 pixels, one part of which takes that many bytes when it is unpacked."""

    def part(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    zeros = zlib.compress(bytes(size), 1)
    header = part(b"IHDR", struct.pack(">IIBBBBB", 32, 24, 8, 2, 0, 0, 0))
    more = b"" if kind == b"IDAT" else part(kind, b"key\0\0" + zeros)
    pixels = zeros if kind == b"IDAT" else zlib.compress(bytes(24 * (3 * 32 + 1)))
    return b"\x89PNG\r\n\x1a\n" + header + more + part(b"IDAT", pixels) + part(b"IEND", b"")


FILES: dict[str, tuple[Callable[[Path], str], str]] = {
    "unknown user": (lambda _: "~nosuchuser1/x", "~nosuchuser1/x"),
    "nul": (lambda _: "a\0b", "no goal"),
    "long name": (lambda _: "a" * 5000, "no goal"),
    "very long name": (lambda _: "a/" * 500_000, "no goal"),
    "folder": (str, "a folder"),
    "device": (lambda _: "/dev/zero", "/dev/zero"),
    "pipe as picture": (lambda folder: pipe(folder, "made.png"), "made.png: a pipe"),
    "pipe as meaning": (lambda folder: pipe(folder, "made.yaml"), "made.yaml: a pipe"),
    "sparse picture": (lambda folder: sparse(folder, "made.png"), "made.png: 2147483648 bytes"),
    "sparse meaning": (lambda folder: sparse(folder, "made.yaml"), "made.yaml: 2147483648 bytes"),
    "nested": (lambda folder: made(folder, meaning="[" * 1500 + "]" * 1500), "made.yaml"),
    "400 digits": (lambda folder: with_seed(folder, "1" * 400), "made.yaml: seed"),
    "5000 digits": (lambda folder: with_seed(folder, "1" * 5000), "made.yaml"),
    "hexadecimal": (lambda folder: with_seed(folder, "0x" + "f" * 3800), "made.yaml: seed"),
    "pose of 400 digits": (
        lambda folder: made(folder, meaning=MEANING.replace("[0.2,", f"[{'1' * 400},")),
        "made.yaml: capture_pose",
    ),
    "long keys": (lambda folder: made(folder, meaning=MEANING + f"{'k' * 1000}: 1\n{'m' * 1000}: 1\n"), "made.yaml"),
    "escapes": (lambda folder: made(folder, meaning=MEANING.replace("sim", '"\\e[31m"')), "made.yaml"),
    "no text": (lambda folder: made(folder, meaning=b"\xff\xfe\xff"), "made.yaml"),
    "empty meaning": (lambda folder: made(folder, meaning=""), "made.yaml"),
    "empty picture": (lambda folder: made(folder, png=b""), "made.png"),
    "cut picture": (lambda folder: made(folder, png=encode_png(PICTURE)[:-200]), "made.png"),
    "memory": (lambda _: "/proc/self/mem", "/mem"),
    "loop of links": (looped, "no goal"),
    "socket": (socketed, "made.png: a socket"),
    "control characters": (lambda _: "a\x1b[2J\x07\r\n" * 50, "no goal"),
    "letters from right to left": (lambda _: "\u202e\u200bgnp.x" * 20, "no goal"),
    "alias": (lambda folder: made(folder, meaning=MEANING.replace("sim", "&a sim") + "more: *a\n"), "made.yaml"),
    "python's own tag": (lambda folder: with_seed(folder, "!!python/object/apply:os.getpid []"), "made.yaml"),
    "binary": (lambda folder: with_seed(folder, "!!binary aGVsbG8="), "made.yaml: seed"),
    "two documents": (lambda folder: made(folder, meaning=f"{MEANING}---\n{MEANING}"), "made.yaml"),
    "no date": (lambda folder: with_seed(folder, "9999-99-99"), "made.yaml"),
    "long meaning": (lambda folder: with_seed(folder, f"[{'sim,' * 10_000}]"), "made.yaml: 40"),
    "thin picture": (lambda folder: made(folder, png=encode_png(np.zeros((1, 3_900_000, 3), np.uint8))), "on a side"),
    "pixels of 256 MB": (lambda folder: made(folder, png=grown(b"IDAT", 2**28)), "made.png"),
    "text of 256 MB": (lambda folder: made(folder, png=grown(b"zTXt", 2**28)), "made.png"),
    "colours of 256 MB": (lambda folder: made(folder, png=grown(b"iCCP", 2**28)), "made.png"),
    "large picture": (lambda folder: made(folder, png=large_picture()), "made.png"),
}
MESSAGES = {
    "larger than it says": Image(encoding="rgb8", height=4, width=4, step=12, data=bytes(4000)),
    "sizes beyond all": Image(encoding="rgb8", height=2**32 - 1, width=2**32 - 1, step=2**32 - 1),
    "36 megapixels": Image(encoding="rgb8", height=6000, width=6000, step=18000, data=bytes(5)),
    "no encoding": Image(encoding="", height=4, width=4, step=12, data=bytes(48)),
    "long encoding": Image(encoding="e" * 100_000, height=4, width=4, step=12, data=bytes(48)),
}


@pytest.mark.parametrize("name", [*FILES, *MESSAGES])
def test_a_request_ends_with_a_short_reason_and_the_goal_in_force_goes_on(
    name: str, homed: Client, running: Supervisor, tmp_path: Path
) -> None:
    if name in FILES:
        make, named = FILES[name]
        request = ReachGoal.Goal(goal_file=make(tmp_path), timeout_s=5.0)
    else:
        named, request = "", ReachGoal.Goal(goal_image=MESSAGES[name], timeout_s=5.0)
    goal = reach(homed)
    goal.moving()
    begun = time.monotonic()
    result = Goal(homed, request).result()
    assert time.monotonic() - begun < 6.0
    assert result.outcome == ReachGoal.Result.FAILED and named in result.reason
    assert 0 < len(result.reason.encode()) < 1000 and "\x1b" not in result.reason
    steps = goal.feedback[-1].steps
    homed.wait(lambda: goal.feedback[-1].steps > steps + 1, "further motion")
    goal.cancel()
    goal.result()
    assert running.ended() is None
