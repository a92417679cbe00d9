"""What a policy bundle states about itself, and how exactly its answers must be reproduced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mqe_core import images
from mqe_core.policy import reference_picture
from mqe_core.policy.domain import DOMAINS
from mqe_core.policy.familiarity import Familiarity
from mqe_core.robot.arrays import Floats, Images

ACTION_NAMES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")
ACTION_UNITS = ("m", "m", "m", "rad", "rad", "rad", "1 = open")
ACTION_FRAME = "base axes; composed on the target commanded before, rotation about the measured position"
GRIPPER_RULE = "sticky"  # binary, changed after `gripper_steps` answers in a row beyond `gripper_threshold`

# How exactly another machine must reproduce the golden outputs; export asserts torch against onnxruntime with
# the same figures.
ACTION_TOLERANCE = 1e-3  # of the action's range, per dimension
STEPS_TOLERANCE = 1e-2  # of the value
STEPS_TOLERANCE_FLOOR = 1e-2  # control steps; near the goal one per cent of the value is less than rounding
DISTANCES_TOLERANCE = 1e-3  # of a candidate's distance, and in control steps at least: a choice rests on differences

# A policy that chooses: what its graph may hold, and what it is told in place of an index.
MOST_CANDIDATES = 64
MOST_FLOW_STEPS = 10
NONE_CHOSEN = -1
CHOICE_KEYS = ("candidates", "flow_steps", "choice_margin", "answer_actions")  # of the contract; all of them or none
# Which earlier versions do not know.
_LATER_KEYS = (*CHOICE_KEYS, "proposal_steps", "unreachable_steps", "familiar_pictures", "reference_picture")


class BundleError(ValueError):
    """A policy file that must not be used; the message says why and what to do."""


@dataclass(frozen=True)
class BundleContract:
    """What the deployment must know about a policy, and what it was made from."""

    robot: str  # name of the robot spec
    agent: str  # learning algorithm
    domain: str  # what the images show: sim or real
    image_size: int  # pixels, height and width of both inputs
    control_hz: float
    action_low: tuple[float, ...]  # (7,) physical value that the agent's -1 stands for
    action_high: tuple[float, ...]  # (7,) and its +1
    discount: float | None  # of the critic behind steps_to_goal; None where there is none
    data_fingerprint: str  # of the EpisodeStore it was trained on
    commit: str  # of the code it was trained with
    metrics: dict[str, float] = field(default_factory=dict)  # the last of training, and those of the calibration
    reached_steps: float | None = None  # steps_to_goal up to which a goal counts as reached; None where not measured
    stall_commands: int | None = None  # commands without coming closer that are no progress; None where not measured
    unreachable_steps: float | None = None  # steps_to_goal beyond which a goal is refused; None: none is
    familiar_pictures: dict[str, Any] | None = None  # `Familiarity`, encoded; None: nothing is said of pictures
    reference_picture: str | None = None  # what the camera saw in training (`reference_picture`); None: it is not known
    candidates: int | None = None  # N: actions among which the critic chooses; None: there is one, of one mean
    flow_steps: int | None = None  # T: Euler steps that make each of them, or the subgoal that it goes to
    choice_margin: float | None = None  # control steps by which another must be nearer than the one chosen last
    answer_actions: int | None = None  # h: actions that an answer holds, one after the other
    proposal_steps: int | None = None  # how far ahead lie the subgoals that it chooses from; None: it chooses actions
    resize_rule: str = images.RESIZE_RULE
    action_names: tuple[str, ...] = ACTION_NAMES
    action_units: tuple[str, ...] = ACTION_UNITS
    action_frame: str = ACTION_FRAME
    gripper_rule: str = GRIPPER_RULE
    gripper_threshold: float = 0.5  # BridgeData V2's evaluation: below is closed
    gripper_steps: int = 1

    def __post_init__(self) -> None:
        def require(ok: bool, key: str, expected: str) -> None:
            if not ok:
                raise BundleError(f"contract key {key}: expected {expected}, got {getattr(self, key)!r}")

        texts = ("robot", "agent", "data_fingerprint", "commit", "action_frame")
        for key in texts:
            require(isinstance(getattr(self, key), str) and getattr(self, key) != "", key, "a text")
        require(self.domain in DOMAINS, "domain", " or ".join(map(repr, DOMAINS)))
        require(
            type(self.image_size) is int and 8 <= self.image_size <= 4096,
            "image_size",
            "an integer from 8 to 4096",
        )
        require(_is_number(self.control_hz) and self.control_hz > 0, "control_hz", "a positive number")
        require(
            self.discount is None or (_is_number(self.discount) and 0 < self.discount < 1),
            "discount",
            "a number in (0, 1) or null",
        )
        require(
            self.reached_steps is None or (_is_number(self.reached_steps) and self.reached_steps >= 0),
            "reached_steps",
            "a number from 0 or null",
        )
        require(
            self.stall_commands is None or (type(self.stall_commands) is int and self.stall_commands >= 1),
            "stall_commands",
            "a positive integer or null",
        )
        require(
            self.unreachable_steps is None or (_is_number(self.unreachable_steps) and self.unreachable_steps >= 0),
            "unreachable_steps",
            "a number from 0 or null",
        )
        self._require_choice(require)
        _ = self.familiarity, self.reference
        for key in ("action_low", "action_high"):
            value = getattr(self, key)
            require(
                isinstance(value, tuple) and len(value) == 7 and all(map(_is_number, value)),
                key,
                "7 finite numbers",
            )
        require(
            all(a < b for a, b in zip(self.action_low, self.action_high)),
            "action_low",
            "values below action_high",
        )
        require(
            isinstance(self.metrics, dict) and all(_is_number(v) for v in self.metrics.values()),
            "metrics",
            "finite numbers by name",
        )
        require(self.resize_rule == images.RESIZE_RULE, "resize_rule", repr(images.RESIZE_RULE))
        require(
            self.action_names == ACTION_NAMES,
            "action_names",
            f"{ACTION_NAMES}, the order that the robot applies",
        )
        require(self.action_units == ACTION_UNITS, "action_units", str(ACTION_UNITS))
        require(self.action_frame == ACTION_FRAME, "action_frame", repr(ACTION_FRAME))
        require(self.gripper_rule == GRIPPER_RULE, "gripper_rule", repr(GRIPPER_RULE))
        require(
            _is_number(self.gripper_threshold) and 0 < self.gripper_threshold < 1,
            "gripper_threshold",
            "a number in (0, 1)",
        )
        require(type(self.gripper_steps) is int and self.gripper_steps >= 1, "gripper_steps", "a positive integer")

    def _require_choice(self, require: Callable[[bool, str, str], None]) -> None:
        ahead = self.proposal_steps
        if all(getattr(self, key) is None for key in CHOICE_KEYS):
            require(ahead is None, "proposal_steps", "null: there are no candidates")
            return
        for key, most in (("candidates", MOST_CANDIDATES), ("flow_steps", MOST_FLOW_STEPS)):
            value = getattr(self, key)
            require(type(value) is int and 1 <= value <= most, key, f"an integer from 1 to {most}")
        margin = self.choice_margin
        require(_is_number(margin) and margin is not None and margin >= 0, "choice_margin", "a number from 0")
        require(
            type(self.answer_actions) is int and self.answer_actions == 1,
            "answer_actions",
            "1: this version runs one action of an answer",
        )
        require(self.candidates == 1 or self.discount is not None, "discount", "a number: its critic chooses")
        require(ahead is None or (type(ahead) is int and ahead >= 1), "proposal_steps", "a positive integer or null")

    def stated(self) -> dict[str, Any]:
        """As a bundle and a server state it: without later keys where there is nothing, so that earlier versions
        understand it.
        """
        return {key: value for key, value in asdict(self).items() if value is not None or key not in _LATER_KEYS}

    @property
    def familiarity(self) -> Familiarity | None:
        """What the training pictures span; BundleError where it is not readable."""
        if self.familiar_pictures is None:
            return None
        try:
            return Familiarity.decoded(self.familiar_pictures)
        except (ValueError, TypeError, AttributeError) as error:
            raise BundleError(f"contract key familiar_pictures: {error}") from error

    @property
    def reference(self) -> Images | None:
        """(image_size, image_size, 3) uint8, what the camera saw in training; BundleError where it is not readable."""
        if self.reference_picture is None:
            return None
        try:
            return reference_picture.decoded(self.reference_picture, self.image_size)
        except ValueError as error:
            raise BundleError(f"contract key reference_picture: {error}") from error

    @property
    def chooses(self) -> bool:
        """Whether the graph takes the index chosen last and answers with all candidates."""
        return self.candidates is not None and self.candidates > 1

    @property
    def action_tolerance(self) -> Floats:
        """(7,): how far an action may be from the expected one, `ACTION_TOLERANCE` of each dimension's range."""
        widths = np.array(self.action_high, dtype=np.float64) - np.array(self.action_low, dtype=np.float64)
        return np.multiply(ACTION_TOLERANCE, widths)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
