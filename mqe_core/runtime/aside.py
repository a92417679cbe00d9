"""Work that may take long, beside the thread that needs it: that one goes on, and the work has an end."""

from __future__ import annotations

import concurrent.futures
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")
_IDLE_S = 2.0  # a thread that begins anew costs some ms on a busy machine


class Future(Protocol):
    """What gets the result: of `concurrent.futures`, or ROS's."""

    def set_result(self, result: Any, /) -> None:
        """The work is done."""

    def set_exception(self, exception: Any, /) -> None:
        """It is not."""


@dataclass(eq=False)
class _Job:
    work: Callable[[], Any]
    future: Future
    limit_s: float
    is_watched: bool = False  # by who waits for it
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_settled: bool = False

    def settle(self, result: Any = None, error: Exception | None = None) -> bool:
        """Give the future its result; False where it has one."""
        with self.lock:
            if self.is_settled:
                return False
            self.is_settled = True
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)
        return True


class Aside:
    """One thread that does one thing after the other, in the order in which they were asked for. It ends when there is
    nothing to do for a while, and begins anew.

    Python cannot end a thread. One whose work passes its limit is left behind until that is done, and another one goes
    on.

    Args:
        limit_s: s that one thing may take.
        most_waiting: things that may wait; further ones fail at once.
        most_left: threads that may be left behind at a time; with more of them everything fails at once.
    """

    def __init__(self, limit_s: float, most_waiting: int = 100, most_left: int = 3) -> None:
        self._limit_s, self._most_waiting, self._most_left = limit_s, most_waiting, most_left
        self._jobs: deque[_Job] = deque()
        self._left = 0
        self._is_running = False  # a thread that was not left behind
        self._changed = threading.Condition()  # of the above

    def do(self, work: Callable[[], Any], future: Future) -> None:
        """Give `future` what `work()` returns or raises; TimeoutError where it takes too long or cannot begin."""
        self._begin(_Job(work, future, self._limit_s))

    def wait_for(self, work: Callable[[], Result], limit_s: float | None = None) -> Result:
        """What `work()` returns or raises; TimeoutError where it takes too long or cannot begin.

        The caller waits for `limit_s` in all, or the usual limit, and no longer.
        """
        future: concurrent.futures.Future[Result] = concurrent.futures.Future()
        job = _Job(work, future, self._limit_s if limit_s is None else limit_s, is_watched=True)
        self._begin(job)
        try:
            return future.result(job.limit_s)
        except concurrent.futures.TimeoutError:  # before Python 3.11 it is none of the built-in ones
            self._leave_behind(job)
            return future.result()  # which is done

    def _begin(self, job: _Job) -> None:
        with self._changed:
            if self._left > self._most_left:
                reason = "too many others took too long and still hang; ask again later, or start anew"
            elif len(self._jobs) >= self._most_waiting:
                reason = f"{self._most_waiting} others wait already; ask again later"
            else:
                reason = ""
                self._jobs.append(job)
                self._start_thread() if not self._is_running else self._changed.notify()
        if reason:
            job.settle(error=TimeoutError(reason))

    def _start_thread(self) -> None:
        """Call with the lock held."""
        self._is_running = True
        threading.Thread(target=self._run, name="aside", daemon=True).start()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            alarm = threading.Timer(job.limit_s, self._leave_behind, (job,))
            if not job.is_watched:
                alarm.daemon = True
                alarm.start()
            try:
                in_time = job.settle(job.work())
            except Exception as error:
                in_time = job.settle(error=error)
            finally:
                alarm.cancel()
            if not in_time:
                with self._changed:
                    self._left -= 1
                return

    def _next(self) -> _Job | None:
        """None where this thread shall end."""
        with self._changed:
            if not self._jobs:
                self._changed.wait(_IDLE_S)
            if not self._jobs:
                self._is_running = False
                return None
            return self._jobs.popleft()

    def _leave_behind(self, job: _Job) -> None:
        if not job.settle(error=TimeoutError(f"it could not be read within {job.limit_s:g} s")):
            return
        with self._changed:
            if job in self._jobs:  # it has not begun
                self._jobs.remove(job)
                return
            self._left += 1
            self._start_thread()
