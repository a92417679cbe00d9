"""OGBench's environments, by the names of their data sets. Nothing is downloaded.

The package is imported when the first environment is made. Its environments and oracles draw from NumPy's global
generator, too; :func:`global_numpy_seed` makes that repeatable and leaves it as it was.
"""

from __future__ import annotations

import logging
import os
import tempfile
import unittest.mock
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from mqe_core.ogbench.names import INSTALL, DatasetName

Environment = Any  # gymnasium.Env, which is not imported here


@dataclass(frozen=True)
class Widths:
    """What an agent sees and does there: S state numbers, or images (0); A action numbers."""

    state: int
    action: int


def make_environment(name: DatasetName, **options: Any) -> Environment:
    """The environment of a data set; ``options`` go to its constructor. ValueError with the install line where the
    package is missing.
    """
    if name.pixels and "DISPLAY" not in os.environ:
        os.environ.setdefault("MUJOCO_GL", "egl")  # read when MuJoCo is imported
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # glfw's, of a machine without a screen
            import gymnasium
            import ogbench  # noqa: F401  # registers its environments
    except ModuleNotFoundError as error:
        raise ValueError(f"OGBench's environments need the package {error.name}: {INSTALL}") from error
    from mqe_core.ogbench.colossal import register_colossal

    register_colossal()
    gymnasium.logger.min_level = gymnasium.logger.ERROR  # it warns of the precision of bounds
    for talker in ("absl", "OpenGL"):  # they tell which OpenGL they found
        logging.getLogger(talker).setLevel(logging.WARNING)
    with _nothing_left_behind():
        return gymnasium.make(name.environment, disable_env_checker=True, **options)


@contextmanager
def _nothing_left_behind() -> Iterator[None]:
    """The package writes each maze to a file, which it neither closes nor deletes: fifty environments would leave fifty
    of both.
    """
    made: list[tuple[int, str]] = []
    original = tempfile.mkstemp

    def noting(*arguments: Any, **options: Any) -> tuple[int, str]:
        made.append(original(*arguments, **options))
        return made[-1]

    with unittest.mock.patch.object(tempfile, "mkstemp", noting):
        yield
    for handle, path in made:
        os.close(handle)
        os.unlink(path)


def widths_of(environment: Environment) -> Widths:
    """Read off the environment's spaces."""
    shape = environment.observation_space.shape
    return Widths(shape[0] if len(shape) == 1 else 0, environment.action_space.shape[0])


@contextmanager
def global_numpy_seed(seed: int) -> Iterator[None]:
    """NumPy's global generator begins with ``seed`` inside, and is afterwards as it was before."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)


def reset(environment: Environment, seed: int, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Reset all that is random in it but NumPy's global generator."""
    environment.unwrapped.action_space.seed(seed)
    observation, info = environment.reset(seed=seed, options=options)
    return observation, info
