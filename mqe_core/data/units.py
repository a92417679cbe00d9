"""Whether states and actions are in the units of a store, and how they get there.

Widths and units are judged where data comes in. The bounds are physical: the arm's reach, the gripper's travel, and
twice the step that the arm takes. They are not the safety box, which is narrower. The 1 % and 99 % quantiles of each
column must lie inside, so single outliers pass.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mqe_core.data.episode import ACTION_SIZE, STATE_SIZE, Episode
from mqe_core.robot.arrays import AnyArray, Floats
from mqe_core.robot.geometry import action_between, euler_to_rotation, rotation_to_euler, state_to_pose
from mqe_core.robot.spec import RobotSpec

TABLES = ("state", "action")
STATE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
ACTION_NAMES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")
UNITS = ("m", "m", "m", "rad", "rad", "rad", "(1 open, 0 closed)")
MOST_STEPS = 2.0  # times the arm's step that an action may ask for

_QUANTILES = (0.01, 0.99)
_ROUNDING = 0.05  # of gripper actions beyond 0 and 1
_MOST_TILT_RAD = np.pi / 4  # some frames of a data set show the tool less tilted than that
_SCALES = {"mm": (slice(0, 3), 1e-3), "cm": (slice(0, 3), 1e-2), "deg": (slice(3, 6), np.pi / 180)}
_LEAST_USE = 0.02  # of the permitted width; a conversion that leaves less than that is none to propose
# What people's grippers say for closed and open.
_GRIPPERS = ("-1..1", "0..255", "0..100", "0..1000", "0.010..0.035")


def numbers_of(values: object, what: str) -> Floats:
    """A source's numbers as float64. ValueError, naming `what`, where they are none: texts and complex numbers too."""
    try:
        array = np.asarray(values)
        are_numbers = array.dtype.kind in "fiub" or (
            array.dtype.kind == "O" and all(isinstance(value, (int, float, np.number)) for value in array.flat)
        )
        if are_numbers or not array.size:
            return array.astype(np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{what}: not a numeric array: {error}") from error
    raise ValueError(f"{what}: not a numeric array: its values are of the type {array.dtype}")


def seven_columns(values: AnyArray, what: str) -> AnyArray:
    """(T, 8) numbers in the layout `[x, y, z, roll, pitch, yaw, padding 0, gripper]` → (T, 7); others as they are.

    ValueError where eight columns mean something else.
    """
    if values.ndim != 2 or values.shape[1] != STATE_SIZE + 1:
        return values  # an episode of another width says so itself
    if values[:, 6].any():
        raise ValueError(
            f"{what}: rows of 8 numbers; expected 7 (x, y, z, roll, pitch, yaw, gripper), or 8 with a 0 before the "
            "gripper"
        )
    return np.delete(values, 6, axis=1)


@dataclass(frozen=True)
class Conversion:
    """What an import does to the numbers of each episode. By default nothing.

    Attributes:
        grippers: by table, the values that the source has for closed and for open.
        units: by table, of `mm`, `cm` and `deg` those that the source has.
        absolute: an action is the pose to go to, and not the way there.
        pitch_offset_deg: what was added to the pitch.
        tool_turn_deg: by how much the source's tool frame is turned about its own y axis, against a store's, in which a
            tool that points straight down has the angles 0, 0, 0.
    """

    grippers: dict[str, tuple[float, float]] = field(default_factory=dict)
    units: dict[str, tuple[str, ...]] = field(default_factory=dict)
    absolute: bool = False
    pitch_offset_deg: float = 0.0
    tool_turn_deg: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("--pitch-offset", self.pitch_offset_deg), ("--tool-turn", self.tool_turn_deg)):
            if not -180.0 <= value <= 180.0:
                raise ValueError(f"{name}={value:g}: expected degrees from -180 to 180")

    @classmethod
    def parse(
        cls,
        grippers: Sequence[str] = (),
        units: Sequence[str] = (),
        absolute: bool = False,
        pitch_offset_deg: float = 0.0,
        tool_turn_deg: float = 0.0,
    ) -> Conversion:
        """From the options' texts: `[state:|action:]LOW..HIGH` and `[state:|action:]mm,deg`. ValueError for others."""
        ranges: dict[str, tuple[float, float]] = {}
        scales: dict[str, tuple[str, ...]] = {}
        for text in grippers:
            number = r"[-+]?(?:\d+\.?\d*|\.\d+)"
            match = re.fullmatch(rf"(?:(state|action):)?({number})\.\.({number})", text)
            if match is None or float(match[2]) == float(match[3]):
                raise ValueError(
                    f"--gripper={text}: expected CLOSED..OPEN, such as -1..1, or with state: or action: before it"
                )
            ranges |= dict.fromkeys([match[1]] if match[1] else TABLES, (float(match[2]), float(match[3])))
        for text in units:
            table, colon, names = text.rpartition(":")
            chosen = tuple(names.split(","))
            if (colon and table not in TABLES) or not set(chosen) <= _SCALES.keys():
                raise ValueError(f"--units={text}: expected mm, cm or deg, with state: or action: before it for one")
            for each in [table] if colon else TABLES:
                scales[each] = scales.get(each, ()) + chosen
                if len({_SCALES[name][0].start for name in scales[each]}) < len(scales[each]):
                    raise ValueError(f"--units={text}: the positions or the angles of a {each} have one unit, got more")
        return cls(ranges, scales, absolute, pitch_offset_deg, tool_turn_deg)

    def __call__(self, episode: Episode) -> Episode:
        """The same episode in the units of a store."""
        if self == Conversion():
            return episode
        states = self._scaled(np.asarray(episode.states), "state")
        actions = self._scaled(np.asarray(episode.actions), "action")
        return replace(episode, states=states, actions=_steps(states, actions) if self.absolute else actions)

    def _scaled(self, values: AnyArray, table: str) -> Floats:
        scaled = values.astype(np.float64)
        for name in self.units.get(table, ()):
            columns, factor = _SCALES[name]
            scaled[:, columns] *= factor
        if table in self.grippers:
            closed, opened = self.grippers[table]
            scaled[:, 6] = (scaled[:, 6] - closed) / (opened - closed)
        if table == "state" or self.absolute:  # steps are about the axes of the base
            scaled[:, 4] -= np.deg2rad(self.pitch_offset_deg)
            if self.tool_turn_deg:
                back = euler_to_rotation(np.array([0.0, -np.deg2rad(self.tool_turn_deg), 0.0]))
                for row in scaled:
                    row[3:6] = rotation_to_euler(euler_to_rotation(row[3:6]) @ back)
        return scaled


def _steps(states: Floats, targets: Floats) -> Floats:
    """Poses to go to (T-1, 7) → steps (T-1, 7), each from the pose before; the first from where the hand is."""
    poses, before = [state_to_pose(state) for state in states], state_to_pose(states[0])
    steps = np.empty_like(targets)
    for t, target in enumerate(targets):
        after = state_to_pose(target)
        steps[t] = [*action_between(before, after, poses[t])[:6], target[6]]
        before = after
    return steps


def bounds(spec: RobotSpec) -> dict[str, tuple[Floats, Floats]]:
    """By table the lowest and the highest physical value of each column, (7,) each."""
    # From the shoulder's axis to the hand, the arm stretched out.
    links = [float(np.linalg.norm(joint.origin_m)) for joint in spec.joints[2:]]
    reach = sum(links) + spec.tool.ee_offset_m
    shoulder = np.sum([joint.origin_m for joint in spec.joints[:2]], axis=0)
    turns = np.array([np.pi, np.pi / 2, np.pi]) + 1e-3
    steps = np.repeat([spec.control.max_translation_step_m, spec.control.max_rotation_step_rad], 3) * MOST_STEPS
    return {
        "state": (np.concatenate([shoulder - reach, -turns, [-0.1]]), np.concatenate([shoulder + reach, turns, [1.2]])),
        "action": (np.concatenate([-steps, [-_ROUNDING]]), np.concatenate([steps, [1.0 + _ROUNDING]])),
    }


def why_implausible(states: AnyArray, actions: AnyArray, spec: RobotSpec) -> list[str]:
    """For each column of states (N, 7) and actions (M, 7) that is in other units: its figures, and what converts it."""
    quantiles = {
        "state": np.quantile(states.astype(np.float64), _QUANTILES, axis=0),
        "action": np.quantile(actions.astype(np.float64), _QUANTILES, axis=0),
    }
    return judge_quantiles(quantiles, spec)


def judge_quantiles(quantiles: dict[str, Floats], spec: RobotSpec) -> list[str]:
    """The same of the 1 % and 99 % quantiles, (2, 7) for each table."""
    found = []
    for table, names in zip(TABLES, (STATE_NAMES, ACTION_NAMES)):
        lowest, highest = bounds(spec)[table]
        for column, name in enumerate(names):
            low, high = quantiles[table][:, column]
            outside = low < lowest[column] or high > highest[column]
            why = f"allowed are {lowest[column]:.3g} to {highest[column]:.3g} {UNITS[column]}" if outside else ""
            if not outside and column == 6 and _is_metres(low, high, spec):
                why = "which are metres of a finger, not the share of its way"
            if (
                not outside
                and table == "state"
                and name == "pitch"
                and (low > _MOST_TILT_RAD or high < -_MOST_TILT_RAD)
            ):
                why = "never near 0, which is a tool that points straight down: is it another convention?"
            if why:
                remedy = _remedy(table, column, quantiles, spec)
                figures = f"{table} {name}: 1 % and 99 % of its values are {low:.4g} and {high:.4g}"
                found.append(f"{figures}, {why}" + (f" ({remedy} converts them)" if remedy else ""))
    return found


def _is_metres(low: float, high: float, spec: RobotSpec) -> bool:
    """Whether a gripper's values are those of one finger, or of both together, in metres."""
    return low >= 0.9 * spec.gripper.closed_m and high <= 2.1 * spec.gripper.travel_upper_m


def _remedy(table: str, column: int, quantiles: dict[str, Floats], spec: RobotSpec) -> str:
    """The option that brings this column where it belongs; empty where none does."""
    lowest, highest = (bound[column] for bound in bounds(spec)[table])
    low, high = quantiles[table][:, column]

    def use(factor: float, zero: float = 0.0) -> float:
        """How much of the permitted width the column takes, once converted; 0 where it does not fit."""
        first, last = sorted(((low - zero) * factor, (high - zero) * factor))
        share = float((last - first) / (highest - lowest))
        return share if lowest - 0.02 <= first and last <= highest + 0.02 and share >= _LEAST_USE else 0.0

    if column == 6:
        ranges = {text: [float(end) for end in text.split("..")] for text in _GRIPPERS}
        uses = {f"--gripper={table}:{text}": use(1 / (end[1] - end[0]), end[0]) for text, end in ranges.items()}
    else:
        state_low, state_high = bounds(spec)["state"]
        if table == "action" and state_low[column] <= low and high <= state_high[column]:
            apart = np.abs(quantiles["action"][:, column] - quantiles["state"][:, column])
            if (apart <= MOST_STEPS * spec.control.max_rotation_step_rad).all():
                return "--actions=absolute"
        scales = {name: factor for name, (columns, factor) in _SCALES.items() if column in range(7)[columns]}
        uses = {f"--units={table}:{name}": use(factor) for name, factor in scales.items()}
    best = max(uses, key=lambda option: uses[option])
    if not uses[best] and (table, column) == ("state", 4):
        return _pitch_remedy(low, high)
    return best if uses[best] else ""


def _pitch_remedy(low: float, high: float) -> str:
    """The option that brings a tool's pitch to where it is near 0; empty where none does.

    A pitch beyond a right angle is none of any rotation: something was added to it. Within that it cannot be told from
    one of a frame that is turned, whose other angles are others as well.
    """
    offset = 90 if high > _MOST_TILT_RAD else -90
    first, last = low - np.deg2rad(offset), high - np.deg2rad(offset)
    if last - first > np.pi / 2 or first > _MOST_TILT_RAD or last < -_MOST_TILT_RAD:
        return ""
    added = f"--pitch-offset={offset}"
    return added if max(-low, high) > np.pi / 2 + 1e-3 else f"--tool-turn={offset}, or {added} where that was added,"


def check_step_limits(low: Sequence[float], high: Sequence[float], spec: RobotSpec) -> None:
    """ValueError where a policy's actions, from `low` to `high` (7,) each, reach beyond twice the arm's steps."""
    lowest, highest = bounds(spec)["action"]
    for column in range(ACTION_SIZE - 1):
        if low[column] < lowest[column] or high[column] > highest[column]:
            raise ValueError(
                f"the policy's {ACTION_NAMES[column]} reaches from {low[column]:.4g} to {high[column]:.4g} "
                f"{UNITS[column]}, beyond twice the step of {spec.name} ({highest[column]:g}): its training data is in "
                "other units; import it again without --trust-units"
            )
