"""What the tests of OGBench share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.ogbench.ogbench_files import make_arrays


@pytest.fixture
def maze_file(tmp_path: Path) -> Path:
    """A tiny data set of states, two wide, and actions, two wide."""
    path = tmp_path / "pointmaze-medium-stitch-v0.npz"
    np.savez(path, **make_arrays((6, 9, 5, 12)))
    return path
