"""How a backend is found by name, and made.

Backends register in the entry-point groups `mqe.robots`, `mqe.cameras` and `mqe.scenes`; a factory is called as
`factory(spec, clock=clock, **options)`. `make_robot` wraps every robot in `SafeRobot`, so the safety filter is the
only road to a motor.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Camera, Clock, MonotonicClock
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_core.runtime.scene import Scene


def find_backend(group: str, name: str) -> Callable[..., Any]:
    """The factory registered as `name` in an entry-point group. ValueError names the installed ones."""
    found = {entry.name: entry for entry in entry_points(group=group)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none: is the package installed (pip install -e .)?"
        raise ValueError(f"no {group} backend named {name!r} is installed here; installed: {known}")
    factory: Callable[..., Any] = found[name].load()
    return factory


def make_robot(name: str, spec: RobotSpec, *, clock: Clock | None = None, **options: object) -> SafeRobot:
    """The backend `name` behind the safety filter. `clock` is the machine's where it is not given; `options`
    go to the backend.
    """
    clock = clock if clock is not None else MonotonicClock()
    return SafeRobot(make_backend("mqe.robots", name, spec, clock=clock, **options), spec, clock)


def make_camera(name: str, spec: RobotSpec, *, clock: Clock | None = None, **options: object) -> Camera:
    """The camera backend `name`; `options` go to it."""
    clock = clock if clock is not None else MonotonicClock()
    camera: Camera = make_backend("mqe.cameras", name, spec, clock=clock, **options)
    return camera


def make_scene(name: str, spec: RobotSpec, task: str, seed: int, *, realtime: bool = False, **options: object) -> Scene:
    """The task `task` with seed `seed` in the simulator `name`. What `realtime` and further options change, the
    simulator's own factory says.
    """
    scene: Scene = make_backend("mqe.scenes", name, spec, task, seed, realtime=realtime, **options)
    return scene


def make_backend(group: str, name: str, *arguments: object, **options: object) -> Any:
    """What the factory registered as `name` makes. ValueError where there is none, or it takes no such options."""
    factory = find_backend(group, name)
    try:
        inspect.signature(factory).bind(*arguments, **options)
    except TypeError as error:
        raise ValueError(f"the backend {name!r} of {group} cannot be made with these options: {error}") from error
    return factory(*arguments, **options)
