"""One process of the graph, as plain data: what starts it, and with which parameters and names."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from mqe_ros.parameters import Value

END_S = 15.0  # patience with a process that was told to end, before a harder signal: an arm parks
Values = Mapping[str, Value]  # of ROS parameters, by name


@dataclass(frozen=True)
class Process:
    """A ROS node (its `parameters` and `remappings` are ROS's), or a plain Python module.

    ros2 launch starts a node by `package` and `executable`. Without ros2 launch our own nodes start as their Python
    `module`. A node of another package has no module; it is the executable that ament finds.
    """

    name: str
    module: str | None
    package: str | None = None  # None: not a ROS node
    executable: str | None = None
    parameters: Values = field(default_factory=dict)
    arguments: tuple[str, ...] = ()  # of the module
    remappings: Mapping[str, str] = field(default_factory=dict)
    is_needed: bool = True  # whether the graph ends with it

    @property
    def command(self) -> list[str]:
        """The command line that starts it without ros2 launch."""
        if self.module is not None:
            command = [sys.executable, "-m", self.module, *self.arguments]
        else:
            assert self.package is not None and self.executable is not None
            command = [str(installed_executable(self.package, self.executable))]
        if self.package is not None:
            command += ["--ros-args", "-r", f"__node:={self.name}"]
            for old, new in self.remappings.items():
                command += ["-r", f"{old}:={new}"]
            for key, value in self.parameters.items():
                # JSON is YAML: a text that looks like a number stays a text
                command += ["-p", f"{key}:={json.dumps(value)}"]
        return command


def node(executable: str, parameters: Values, is_needed: bool = True) -> Process:
    """A node of mqe_ros, named as its executable."""
    return Process(executable, "mqe_ros.start", "mqe_ros", executable, parameters, (executable,), is_needed=is_needed)


def installed_executable(package: str, executable: str) -> Path:
    """Where ament finds it. FileNotFoundError where the package or its executable is missing."""
    try:
        path = Path(get_package_prefix(package)) / "lib" / package / executable
    except PackageNotFoundError:
        raise FileNotFoundError(f"the ROS package {package} is not installed") from None
    if not os.access(path, os.X_OK):
        raise FileNotFoundError(f"the ROS package {package} is installed, but without the executable {path}")
    return path
