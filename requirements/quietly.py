"""Run a command that says much: one line here, all that it says in a file, and where it fails, the end of that file.

    python3 requirements/quietly.py LOG "what is done" COMMAND …

On a terminal the line shows the time that has passed and what the command said last; elsewhere a line comes every half
minute. The exit code is the command's. It runs before anything is installed, on any Python 3.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

TAIL_LINES = 25
_LOOK_S = 0.2
_LINE_S = 30.0  # between two lines where the output is no terminal
_TAIL_BYTES = 2**15


def tail(log: Path, lines: int) -> list[str]:
    """The last lines that are not empty. A line that was written over again and again counts by its last state."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    shown = [line.rstrip().rpartition("\r")[2].strip() for line in text.split("\n")]
    return [line for line in shown if line][-lines:]


def run(log: Path, words: str, command: list[str]) -> int:
    """Run it to its end; its exit code."""
    log.parent.mkdir(parents=True, exist_ok=True)
    is_terminal, begun, told = sys.stdout.isatty(), time.monotonic(), 0.0
    print("== " + words, end="" if is_terminal else "\n", flush=True)
    with log.open("wb") as file:
        try:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        except OSError as error:
            print(f"\n{command[0]} cannot be started: {error}", file=sys.stderr)
            return 127
        while True:
            try:
                code = process.wait(_LOOK_S)
                break
            except subprocess.TimeoutExpired:
                pass
            except KeyboardInterrupt:  # the command hears it as well, as it runs in the same group
                code = process.wait()
                print(f"\n{words}: interrupted", file=sys.stderr)
                return code or 128 + signal.SIGINT
            seconds = time.monotonic() - begun
            if is_terminal:
                said = "".join(tail(log, 1))
                line = f"== {words}, {seconds:.0f} s" + (f": {said}" if said else "")
                print(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
            elif seconds - told >= _LINE_S:
                told = seconds
                print(f"   … {seconds:.0f} s", flush=True)
    seconds = time.monotonic() - begun
    if is_terminal:
        print(f"\r\x1b[K== {words}, {seconds:.0f} s", flush=True)
    if code:
        print("\n".join([*tail(log, TAIL_LINES), f"{words} failed; all that was said: {log}"]), file=sys.stderr)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
