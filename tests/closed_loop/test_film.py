"""Promise: a film that a command says it has written is whole; where the disk is full there is none, and it says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mqe_core.closed_loop.film import write_film
from mqe_core.files import disk
from mqe_core.files.disk import WriteError

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
FRAMES = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)


def test_all_frames_are_in_the_film(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", FRAMES, 64, 64, 10.0, macro_block_size=2)
    assert imageio_ffmpeg.count_frames_and_secs(str(film))[0] == len(FRAMES)


@pytest.mark.parametrize("room", [1, 1000, 20_000])
def test_a_film_that_the_disk_does_not_take_is_an_error_and_leaves_none(tmp_path: Path, room: int) -> None:
    """The limit is that of a file's size; ffmpeg is another process, and has it too."""
    script = f"""
import resource, signal
from pathlib import Path
from tests.closed_loop.test_film import FRAMES
from mqe_core.closed_loop.film import write_film
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
write_film(Path({str(tmp_path / "film.mp4")!r}), FRAMES, 64, 64, 10.0, macro_block_size=2)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2]
    )
    assert "WriteError" in done.stderr and "film.mp4 cannot be written" in done.stderr, done.stderr
    assert not any(tmp_path.iterdir())


def test_a_picture_that_the_disk_does_not_take_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, content: bytes) -> int:
        with open(self, "wb") as file:
            file.write(content[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk.Path, "write_bytes", full)
    with pytest.raises(WriteError, match="000001.jpg cannot be written: No space left on device; free some space"):
        disk.write_new(tmp_path / "000001.jpg", b"picture")
    assert not any(tmp_path.iterdir())
