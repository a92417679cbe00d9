"""`mqe up`: the launch file's graph, started without ros2 launch. Arguments as there: name:=value."""

from __future__ import annotations

import os
import signal
import sys


def run(texts: list[str]) -> int:
    """Start, wait, stop. 0 after Ctrl-C or SIGTERM with every process ended cleanly; 1 where one failed."""
    from mqe_bringup.arguments import parse_arguments
    from mqe_bringup.graph import build_graph
    from mqe_bringup.last_hold import hold_the_arm
    from mqe_bringup.supervisor import Supervisor
    from mqe_ros.only_arm import require_no_graph

    graph = build_graph(parse_arguments(texts))
    require_no_graph(_tell)
    for line in graph.banner:
        _tell(line)
    stop_requested = False

    def request_stop(*_: object) -> None:
        nonlocal stop_requested
        stop_requested = True

    signal.signal(signal.SIGINT, request_stop)
    signal.signal(signal.SIGTERM, request_stop)
    supervisor = Supervisor(graph.environment)
    try:
        supervisor.start(graph.processes)
        ended = supervisor.wait(lambda: stop_requested, _tell)
        held = "" if ended is None else hold_the_arm(ended[0])
    finally:
        codes = supervisor.stop()
    if ended is not None:
        _tell(f"{ended[0]} ended with exit code {ended[1]}; {held}; the others were stopped")
        return 1
    # A child that was still starting when the signal came dies of it; that is a clean end as well.
    failed = {name: code for name, code in codes.items() if code not in (0, -signal.SIGINT)}
    for name, code in failed.items():
        _tell(f"{name} ended with exit code {code}")
    return 1 if failed else 0


def _tell(text: str) -> None:
    sys.stderr.write(f"mqe up: {text}\n")


def _list_arguments() -> None:
    import shutil
    import textwrap

    from mqe_bringup.arguments import ARGUMENTS

    width = max(60, shutil.get_terminal_size().columns)
    for argument in ARGUMENTS:
        text = f"{argument.name + ':=' + argument.default:20} {argument.description}"
        sys.stdout.write(textwrap.fill(text, width, subsequent_indent=21 * " ", break_on_hyphens=False) + "\n")


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))  # nothing has been started yet
    from mqe_core.interrupts import hear_interrupts

    hear_interrupts()
    if sys.argv[1:] == ["--list-arguments"]:
        _list_arguments()
        return
    from mqe_ros import transports

    if transports.shared_memory_is_full():
        _tell(transports.FULL)
    try:
        sys.exit(run(sys.argv[1:]))
    except (ValueError, RuntimeError, OSError) as error:
        _tell(str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
