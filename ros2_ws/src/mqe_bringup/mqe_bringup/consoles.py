"""The argument `console`: whether the operator's page is served, and where."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mqe_bringup.arguments import BAGS
from mqe_bringup.process import Process, node
from mqe_core.console.listening import listening
from mqe_core.robot.spec import RobotSpec
from mqe_ros.parameters import Value

_LIBRARY = "nicegui"


def choose_console(
    requested: str, spec: RobotSpec, folders: Sequence[Path], record: Path | None, others: Mapping[str, Value]
) -> list[Process]:
    """The page's node, or none.

    Args:
        requested: `false`, `true`, or where it listens: `PORT`, `HOST`, `HOST:PORT`.
        folders: of goals, in this order; new ones go to the first.
        record: the folder of the recording; beside it lie the others.
        others: further parameters of the node.

    ValueError where its library is not installed.
    """
    if requested.lower() == "false":
        return []
    if importlib.util.find_spec(_LIBRARY) is None:
        raise ValueError(
            "the console's page needs NiceGUI, which is not installed: pip install -r requirements/console.txt"
        )
    parameters: dict[str, Value] = {
        "robot": spec.source,
        "goal_folders": os.pathsep.join(map(str, folders)),
        "recordings": str(record.parent if record is not None else Path(BAGS).absolute()),
        **others,
    }
    if requested.lower() != "true":
        listening(requested)  # ValueError where it is no address
        parameters["address"] = requested
    # The arm holds where it ends, so the graph goes on.
    return [node("console_node", parameters, is_needed=False)]
