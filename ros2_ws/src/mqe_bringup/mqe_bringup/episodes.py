"""`mqe episode …`: mark where the episodes of a running recording begin and end.

It runs as `python -m mqe_bringup.episodes MARK [LABEL]`.
"""

from __future__ import annotations

import secrets
import sys

from mqe_bringup.operator_node import PATIENCE_S, Operator
from mqe_core import ros_names
from mqe_core.robot.episode_marks import LABEL, require_label
from mqe_interfaces.srv import MarkEpisode
from mqe_ros.asking import ANSWERED, answer

_INTERRUPTED = 130


def mark(operator: Operator, name: str, label: str = "") -> str:
    """What record_node answers. RuntimeError with its words where it refuses, or where none records."""
    if name == LABEL:
        require_label(label)
    client = operator.node.create_client(MarkEpisode, ros_names.MARK_EPISODE, qos_profile=ANSWERED)
    operator.find(client.service_is_ready, "record_node", "record (mqe up record:=true)")
    request = MarkEpisode.Request(id=secrets.randbits(64), mark=name, label=label)
    given = answer(lambda: client.call_async(request), operator.listen, PATIENCE_S, "record_node's answer")
    if not given.success:
        raise RuntimeError(given.message)
    return str(given.message)


def main() -> None:
    try:
        with Operator() as operator:
            sys.stdout.write(f"{mark(operator, *sys.argv[1:])}\n")
    except (ValueError, RuntimeError, OSError) as error:
        sys.stderr.write(f"mqe episode: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("mqe episode: interrupted\n")
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
