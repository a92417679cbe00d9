"""What pads and keys do, read from `devices.yaml` or a file of the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mqe_core.files.near_names import did_you_mean
from mqe_core.files.text import read_yaml
from mqe_core.robot.episode_marks import DISCARD
from mqe_core.robot.strict_yaml import Positive, PositiveInt, Vector3, build

SHIPPED = Path(__file__).with_name("devices.yaml")
MOTIONS = ("x", "y", "z", "roll", "pitch", "yaw")  # in the order of an action
GRIPPER, SLOWER, FASTER, HOLD, RESUME = "gripper", "slower", "faster", "hold", "resume"
EPISODE = "episode"  # of a recording: it begins, or ends
ACTS = (GRIPPER, SLOWER, FASTER, HOLD, RESUME, EPISODE, DISCARD)  # done once at each press
ALWAYS, EVENTS = "always", "events"  # what a pad's messages tell of its buttons
NO_DRIVER = "none"  # in place of a package: the console's page reads that pad
BROWSER = "browser"  # the pad of that page
DEAD_MAN_KEYS = ("shift", "control", "alt")  # that may be held beside others


@dataclass(frozen=True)
class PadSpec:
    """One kind of pad; `devices.yaml` explains the keys."""

    name: str
    title: str
    package: str
    executable: str
    topic: str
    axes: PositiveInt
    buttons: PositiveInt
    button_news: str
    x: str
    y: str
    z: str
    roll: str
    pitch: str
    yaw: str
    dead_man: str
    gripper: str
    slower: str
    faster: str
    hold: str
    resume: str
    episode: str
    discard: str


@dataclass(frozen=True)
class Key:
    """A key of a terminal, and the act or the way along a motion that it stands for (`x+`)."""

    key: str
    does: str


@dataclass(frozen=True)
class Keyboard:
    """`step_m`, `step_rad`: of one press in a terminal at the highest speed. `dead_man`: of the console's page."""

    step_m: Positive
    step_rad: Positive
    dead_man: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, eq=False)
class Devices:
    """All of the file."""

    fastest_m_per_s: Positive
    fastest_rad_per_s: Positive
    speeds: Vector3
    dead_zone: Positive
    pads: tuple[PadSpec, ...]
    keyboard: Keyboard

    def pad(self, name: str) -> PadSpec:
        """The pad of that name; ValueError where there is none."""
        known = {pad.name: pad for pad in self.pads}
        if name not in known:
            near = did_you_mean(name, known)
            raise ValueError(f"no pad is called {name!r}{near}; the file has {', '.join(known)}")
        return known[name]


def load_devices(path: Path | None = None) -> Devices:
    """The file's devices, the shipped file's where none is given. ValueError names the file and what is wrong in it."""
    file = path or SHIPPED
    devices = build(Devices, read_yaml(file), str(file))
    if not (devices.speeds > 0).all() or not (devices.speeds <= 1).all():
        raise ValueError(f"{file}: speeds: expected shares above 0 up to 1, got {devices.speeds.tolist()}")
    if devices.dead_zone >= 0.5:
        raise ValueError(f"{file}: dead_zone: expected less than 0.5, got {devices.dead_zone}")
    for pad in devices.pads:
        if pad.button_news not in (ALWAYS, EVENTS):
            raise ValueError(f"{file}: {pad.name}: button_news: expected always or events, got {pad.button_news!r}")
    if devices.keyboard.dead_man not in DEAD_MAN_KEYS:
        raise ValueError(f"{file}: keyboard: dead_man: expected one of {DEAD_MAN_KEYS}")
    known = {*ACTS, *(f"{motion}{way}" for motion in MOTIONS for way in "+-")}
    for key in devices.keyboard.keys:
        if key.does not in known:
            raise ValueError(f"{file}: the key {key.key}: {key.does!r} is nothing that a key can do: {sorted(known)}")
    return devices
