"""What several ranks need before they train one run: work that can be shared out, and the same of everything."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import torch

import mqe_core
from mqe_core.data.frames import Frames
from mqe_core.learning.ranks.ranks import Ranks
from mqe_core.learning.run.config import as_values
from mqe_core.learning.run.run_config import RunConfig

# Keys that may be another one on each machine. They change how fast a run is and where its files lie, not what it
# computes: weights are rank 0's.
_FREE = {"threads", "device", "image_workers", "image_memory_mb", "image_cache_mb", "encoder_weights"}


def require_shareable(config: RunConfig, store: Frames, ranks: Ranks) -> None:
    """ValueError, before anything is trained, where the ranks cannot share this run out, or where one has another
    version, data or configuration.
    """
    if ranks.world == 1:
        return
    train = config.train
    if train.batch_size % ranks.world:
        raise ValueError(
            f"batch_size ({train.batch_size}) does not divide among {ranks.world} ranks: choose a multiple of "
            f"{ranks.world}, or start as many ranks as divide it"
        )
    if train.features_of or not store.num_cameras or train.observation in ("state", "features"):
        raise ValueError(
            "ranks share out the work of image encoders, and a run from states or features has none: train it in one "
            "process, without torchrun"
        )
    facts = {
        "the version of mqe": f"{mqe_core.__version__} (code {_code()})",
        "the version of torch": torch.__version__,
    }
    facts["the data's fingerprint"] = f"{store.fingerprint[:12]}…"
    facts |= {f"the key {name}": repr(value) for name, value in as_values(config).items() if name not in _FREE}
    ranks.require_alike(facts)


@functools.cache
def _code() -> str:
    """Twelve characters that say what this package's code is, also where it was changed after its release."""
    root, digest = Path(mqe_core.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]
