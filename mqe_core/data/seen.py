"""What an import has seen so far: what stands there twice, and what is judged over all episodes at its end."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import asdict

import numpy as np

from mqe_core.data.agreement import why_another_rate, why_grippers_disagree
from mqe_core.data.episode import EncodedEpisode, Skipped
from mqe_core.data.units import Conversion, why_implausible
from mqe_core.robot.arrays import Float32s
from mqe_core.robot.spec import load_robot_spec

log = logging.getLogger(__name__)


class Seen:
    """What an import has seen so far: for what is to be judged over all episodes."""

    def __init__(self, image_size: int, copies_are_told: bool) -> None:
        self._image_size = image_size
        self._copies_are_told = copies_are_told
        self._has_warned = False
        self._names: dict[bytes, str] = {}  # by content
        self._states: list[Float32s] = []
        self._actions: list[Float32s] = []
        self._even: dict[int, list[str]] = {}  # by camera, the episodes in which it shows nothing
        self._unused: Counter[str] = Counter()  # by key, episodes
        self._lost: Counter[int] = Counter()  # by camera, episodes
        self._periods_s: list[float] = []  # of the episodes that say it

    def take(self, result: EncodedEpisode | Skipped) -> EncodedEpisode | Skipped:
        """Note an episode; one that is there already becomes a Skipped."""
        if isinstance(result, Skipped):
            return result
        first = self._names.setdefault(result.digest, result.name) if self._copies_are_told else result.name
        if first != result.name:
            return Skipped(result.name, f"the same numbers and images as {first}", 0)
        if result.enlarged and not self._has_warned:
            log.warning(
                "%s: its images are smaller than image size %d and are enlarged; without "
                "--image-size they would not be",
                result.name,
                self._image_size,
            )
            self._has_warned = True
        self._states.append(result.states)
        self._actions.append(result.actions)
        for camera in result.even_cameras:
            self._even.setdefault(camera, []).append(result.name)
        self._unused.update(result.unused_cameras)
        self._lost.update(result.lost_cameras.keys())
        self._periods_s += [] if result.period_s is None else [result.period_s]
        for camera, why in sorted(result.lost_cameras.items()):
            log.warning("%s: without camera %d: %s", result.name, camera, why)
        return result

    def require_units(self, period_s: float) -> None:
        """ValueError where the numbers are in other units than a store's, whose frames are `period_s` apart."""
        wrong = why_implausible(np.concatenate(self._states), np.concatenate(self._actions), load_robot_spec())
        wrong += why_grippers_disagree(self._states, self._actions)
        wrong += why_another_rate(self._periods_s, period_s)
        if wrong:
            raise ValueError(
                f"the numbers are not in a store's units: {'; '.join(wrong)}. --trust-units imports them as they are"
            )

    def notes(self, conversion: Conversion, trust_units: bool) -> dict[str, object]:
        """For the store's metadata; what is odd is also told in the log."""
        for camera, names in sorted(self._even.items()):
            log.warning(
                "camera %d shows one even colour in %d of %d episodes, first %s: was it covered or off?",
                camera,
                len(names),
                len(self._states),
                names[0],
            )
        for key, count in sorted(self._unused.items()):
            log.warning("images under %s are not imported (in %d episodes); --camera %s imports them", key, count, key)
        even = {str(camera): len(names) for camera, names in self._even.items()}
        return {
            "even_cameras": even,
            "unused_cameras": dict(self._unused),
            "lost_cameras": {str(camera): count for camera, count in sorted(self._lost.items())},
            "conversion": asdict(conversion) | {"trusted": trust_units},
        }
