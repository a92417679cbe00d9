"""What learning reads of a data set, whatever its form: an EpisodeStore, or a reader of other people's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mqe_core.robot.arrays import Bools, Float32s, Images, Ints


class Frames(Protocol):
    """N frames of E episodes, one after the other, each with a state, an action and perhaps images."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What a run folder tells of it."""

    @property
    def fingerprint(self) -> str:
        """Hash of the contents as hex."""

    @property
    def names(self) -> Sequence[str]:
        """One per episode."""

    @property
    def episode_ends(self) -> Ints:
        """(E,), exclusive."""

    @property
    def states(self) -> Float32s:
        """(N, S); S is 0 where there are images only."""

    @property
    def actions(self) -> Float32s:
        """(N, A); without meaning where ``valid`` is false."""

    @property
    def valid(self) -> Bools:
        """(N,): the frame has an action and a successor."""

    @property
    def operated(self) -> Bools:
        """(N,): an operator moved the arm, as far as the data tells."""

    @property
    def num_episodes(self) -> int:
        """E."""

    @property
    def num_frames(self) -> int:
        """N."""

    @property
    def num_cameras(self) -> int:
        """How many; 0 where there are no images."""

    @property
    def cameras(self) -> Sequence[int]:
        """Their numbers."""

    @property
    def image_size(self) -> int:
        """Height and width of every image in pixels."""

    def has_image(self, camera: int = 0) -> Bools:
        """(N,): which frames have an image of this camera."""

    def images(self, indices: Ints, camera: int = 0) -> Images:
        """Images of the frames `indices` (n,) → `(n, H, W, 3) uint8` RGB."""
