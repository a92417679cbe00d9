"""A message or request that cannot be taken ends no node: it is dropped, counted and named.

Whoever publishes on a topic can put anything into its fields, and rclpy lets an exception of a callback end the
process.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from mqe_core.files.bounded import shortened

_REASON_BYTES = 200
_MOST_ENTRIES = 100  # of a list in a request: rclpy takes a third of a millisecond for each parameter that is asked for


class Guard:
    """Callbacks behind it raise nothing. `dropped` counts what they could not take, by topic or service.

    It is for what comes from outside. A failure in the control loop, or of the arm itself, must not be passed over:
    such a callback sets its node's `failure`.

    Args:
        tell: gets a line when something is dropped, once between two calls of `news`.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self.dropped: Counter[str] = Counter()
        self._tell = tell
        self._lock = threading.Lock()
        self._untold: dict[str, str] = {}  # by name: the newest reason since `news` was asked last

    def message(self, topic: str, callback: Callable[[Any], object]) -> Callable[[Any], None]:
        """A subscription's callback, guarded."""

        def guarded(message: Any) -> None:
            try:
                callback(message)
            except Exception as error:  # whatever a field makes of the code behind it
                self.note(topic, error)

        return guarded

    def request(self, service: str, callback: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """A service's callback, guarded: the caller gets the answer as far as it came."""

        def guarded(request: Any, response: Any) -> Any:
            try:
                _require_few_entries(request)
                return callback(request, response)
            except Exception as error:
                self.note(service, error)
                return response

        return guarded

    def note(self, name: str, error: Exception) -> None:
        """Count what could not be taken on a topic or a service, where a callback only kept it and did not read it."""
        reason = shortened(f"{type(error).__name__}: {error}", _REASON_BYTES)
        with self._lock:
            self.dropped[name] += 1
            is_first, self._untold[name] = name not in self._untold, reason
        if is_first:
            self._tell(f"dropped what came on {name}: {reason}")

    def news(self) -> str:
        """What was dropped since the last call, for people; empty where nothing was."""
        with self._lock:
            told, self._untold = self._untold, {}
        return "; ".join(f"{self.dropped[name]} dropped so far on {name}: {reason}" for name, reason in told.items())


def _require_few_entries(request: Any) -> None:
    """ValueError where one of its lists is longer than any that a node has a use for."""
    for field in request.get_fields_and_field_types():
        value = getattr(request, field)
        if not isinstance(value, (str, bytes)) and hasattr(value, "__len__") and len(value) > _MOST_ENTRIES:
            raise ValueError(f"a request of {len(value)} {field}, at most {_MOST_ENTRIES} at once are answered")
