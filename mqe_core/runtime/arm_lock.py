"""One arm per ROS domain of a machine, also where the other one is stopped and says nothing.

The lock is a name in Linux's abstract namespace of sockets. All users of the machine see the same names. They need no
file, so no disk, permission or link stands in the way. The kernel frees a name with the process that took it, however
that one ends. A container has names of its own exactly where it has a network of its own, and there the arms do not
hear each other either.
"""

from __future__ import annotations

import contextlib
import errno
import pwd
import socket
import struct
from pathlib import Path

from mqe_core.ros_domain import HIGHEST

_WAITING = 4096  # questions that may come while the holder is stopped; nobody has to accept them
_NOT_NAMED = "a process that does not say who it is"
_CREDENTIALS = struct.Struct("3i")  # process, user, group


class ArmLock:
    """Held from here until `close`, or until the process ends.

    `problem` says why there is none where it could not be taken for another reason than a holder. Then only the network
    tells of a second arm.

    Args:
        domain: the ROS domain. ValueError where a process of this machine holds it; it names that one.
    """

    def __init__(self, domain: int) -> None:
        self.problem = ""
        self._socket: socket.socket | None = None
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.bind(_name(domain))
            self._socket.listen(_WAITING)
        except OSError as error:
            self.close()
            if error.errno == errno.EADDRINUSE:
                raise ValueError(_taken(domain, holder(domain) or _NOT_NAMED)) from error
            self.problem = f"{type(error).__name__}: {error}"

    def close(self) -> None:
        """Let it go. Safe to call again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def require_free(domain: int) -> None:
    """ValueError, as of ArmLock, where an arm's process of this machine holds the domain. Takes nothing."""
    found = holder(domain)
    if found is not None:
        raise ValueError(_taken(domain, found))


def holder(domain: int) -> str | None:
    """Who holds it, for people; None where nobody does, or there are no such locks here."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.setblocking(False)
            asking.connect(_name(domain))
            credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except BlockingIOError:  # too many have asked before
        return _NOT_NAMED
    except OSError:
        return None
    process, user, _ = _CREDENTIALS.unpack(credentials)
    return _described(process, user)


def _name(domain: int) -> str:
    return f"\0mqe arm of ROS domain {domain}"


def _taken(domain: int, found: str) -> str:
    return (
        f"another arm_node runs in ROS domain {domain}, and both would follow every command: it is {found}. Stop it, "
        f"or give this graph a ROS_DOMAIN_ID of its own (0 to {HIGHEST})"
    )


def _described(process: int, user: int) -> str:
    name = str(user)
    with contextlib.suppress(KeyError):
        name = pwd.getpwuid(user).pw_name
    if process <= 0:  # not of this namespace of processes
        return f"a process of the user {name}, in another container or outside this one"
    return f"process {process} of the user {name}{_stopped(process)}"


def _stopped(process: int) -> str:
    try:
        said = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        state = said.rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
    return f", which is stopped and would go on at any time (kill -KILL {process} ends it)" if state in "tT" else ""
