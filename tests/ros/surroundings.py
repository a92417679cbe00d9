"""Surroundings in which shared memory does not reach the graph: another user, a container, a /dev/shm that was cleaned.

A process that speaks only shared memory with the graph is deaf and mute in them, without a word.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

SHARED_MEMORY = "/dev/shm/fastrtps_"
_NOBODY = 65534


def of_another_user(command: list[str]) -> list[str]:
    """The command as the user nobody, who may read all files (a checkout in root's home too) and write none of ours."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    allowed = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return _possible(["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", *allowed], command)


def in_a_container(command: list[str]) -> list[str]:
    """The command with a /dev/shm of its own, and the machine's network: `docker run --network host`."""
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    mount = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"'
    return _possible(["unshare", "--mount", *as_root, "sh", "-c", mount, "sh"], command)


def in_a_full_container(command: list[str]) -> list[str]:
    """The same, and nothing is left of its /dev/shm."""
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    mount = 'mount -t tmpfs -o size=4k tmpfs /dev/shm && echo full >/dev/shm/all && exec "$@"'
    return _possible(["unshare", "--mount", *as_root, "sh", "-c", mount, "sh"], command)


def clean_shared_memory(pids: Iterable[int]) -> int:
    """Remove the files in /dev/shm by which these processes hear and speak, and this one does not; how many."""
    files = set().union(*(_mapped(pid) for pid in pids)) - _mapped(os.getpid())
    for path in files:
        path.unlink(missing_ok=True)
    return len(files)


def _mapped(pid: int) -> set[Path]:
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {Path(line.split()[5]) for line in lines if SHARED_MEMORY in line and not line.endswith("(deleted)")}


def _possible(prefix: list[str], command: list[str]) -> list[str]:
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"not allowed here: {' '.join(prefix)}: {tried.stderr.strip()}")
    return [*prefix, *command]
