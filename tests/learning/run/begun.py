"""What the tests of how a run begins look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mqe_core.learning.run.run_folder import load_run
from mqe_core.policy.golden_images import counter_image

NO_RATE = {"learning_rate": 1e-12}  # a run that stays where it begins
IMAGES = [torch.from_numpy(np.stack([counter_image(32, 10 * i + k) for k in range(3)])) for i in (1, 2)]


def actions(run_folder: Path) -> torch.Tensor:
    """What a run's policy answers to three pairs of images."""
    with torch.no_grad():
        return load_run(run_folder)[0].policy_module()(*IMAGES)[0]
