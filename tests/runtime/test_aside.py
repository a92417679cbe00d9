"""Promise: work that takes too long is given up, the next goes on, and nothing of it stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from mqe_core.runtime.aside import Aside

LONG_S = 60.0  # no test waits so long


@pytest.fixture
def endless() -> Iterator[Callable[[], None]]:
    """Work that goes on until the test is over."""
    over = threading.Event()
    yield lambda: over.wait() and None
    over.set()


def threads() -> int:
    return sum(thread.name == "aside" for thread in threading.enumerate())


def until(done: Callable[[], object]) -> None:
    end = time.monotonic() + LONG_S
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_gives_what_the_work_returns_or_raises() -> None:
    aside = Aside(LONG_S)
    assert aside.wait_for(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        aside.wait_for(lambda: 1 // 0)
    assert aside.wait_for(threading.get_ident) != threading.get_ident()


def test_what_takes_too_long_is_given_up_and_the_next_goes_on(endless: Callable[[], None]) -> None:
    aside = Aside(0.05)
    with pytest.raises(TimeoutError, match="within 0.05 s"):
        aside.wait_for(endless)
    aside._limit_s = LONG_S  # a busy machine may need longer for what comes next
    assert aside.wait_for(lambda: 4) == 4


def test_with_too_many_left_behind_everything_fails_at_once_until_one_of_them_is_done() -> None:
    over = [threading.Event() for _ in range(2)]
    aside = Aside(0.05, most_left=1)
    for event in over:
        with pytest.raises(TimeoutError, match="within"):
            aside.wait_for(event.wait)
    aside._limit_s = LONG_S
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match="still hang"):
        aside.wait_for(lambda: 5)
    assert time.monotonic() - begun < LONG_S / 2
    over[0].set()
    until(lambda: aside._left == 1)
    assert aside.wait_for(lambda: 6) == 6
    over[1].set()


def test_what_waits_is_bounded_and_done_in_order(endless: Callable[[], None]) -> None:
    class Said:
        """A future that remembers."""

        def __init__(self) -> None:
            self.results: list[object] = []

        def set_result(self, result: object, /) -> None:
            self.results.append(result)

        def set_exception(self, exception: object, /) -> None:
            self.results.append(exception)

    go, said = threading.Event(), Said()
    aside = Aside(LONG_S, most_waiting=2)
    aside.do(go.wait, said)
    until(lambda: not aside._jobs)  # it is being done
    for number in range(3):
        aside.do(lambda number=number: number, said)
    assert len(said.results) == 1 and "2 others wait already" in str(said.results[0])
    go.set()
    until(lambda: len(said.results) == 4)
    assert said.results[1:] == [True, 0, 1]


def test_no_thread_stays_where_there_is_nothing_to_do() -> None:
    until(lambda: threads() == 0)  # of the tests before
    for _ in range(20):
        assert Aside(LONG_S).wait_for(lambda: 7) == 7
    until(lambda: threads() == 0)
