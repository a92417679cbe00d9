"""Promise: whatever becomes of the operator's page, its network or its node, the arm holds and stays the operator's. By
hand it goes on only after the dead-man was released and pressed again.

The page's line is one of this process. What a browser adds, its own clock among it, is in tests/browser.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("nicegui", reason="needs NiceGUI: pip install -r requirements/console.txt")

from mqe_bringup.process import node
from mqe_core.console.hands import ANOTHER, MAX_AGE_S
from mqe_interfaces.msg import ArmStatus
from tests.ros.faults.by_hand import LET_GO, WAIT, ByHand
from tests.ros.faults.fault_rig import HOLD_S, PERIOD_S, Rig
from tests.ros.page_line import PageLine, free_port
from tests.ros.ros_helpers import Client

pytestmark = pytest.mark.faults
START_S = 60.0  # for the node with the page; it imports more than the others
# What a page said last counts for so long: a line that is cut says nothing of it.
SILENT_S = MAX_AGE_S + HOLD_S


def to_and_fro() -> list[str]:
    """The key that is held now: the hand rolls to the left and to the right in turn, so that it has room."""
    return ["j"] if time.monotonic() % 2.0 < 1.0 else ["l"]


class Paged(ByHand):
    """The rig with an operator at a page."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig)
        self.port = free_port()
        self.start()
        self.page = self.open()

    def start(self) -> None:
        given = {"goal_folders": str(self.rig.folder), "camera_domain": "real", "address": str(self.port)}
        self.rig.add("console", node("console_node", given).command)

    def open(self) -> PageLine:
        """A page, as soon as the node serves any."""
        end = time.monotonic() + START_S
        while True:
            try:
                page = PageLine(self.port)
                break
            except OSError:
                assert time.monotonic() < end, (self.rig.folder / "console.log").read_text()[-2000:]
                self.rig.client.spin(0.2)
        self.rig.wait(lambda: "not held" in page.told, "the page's hand at rest")
        page.keys = ["-"]  # slower: the rig takes steps far beyond the policy's for jumps
        self.rig.client.spin(0.3)
        page.keys = []
        return page

    def take(self) -> float:
        """The page moves the arm, whoever did before. The moment of the press."""
        end = time.monotonic() + START_S
        while True:
            self.page.dead_man, self.page.keys = False, []
            self.rig.client.spin(0.5)
            pressed = time.monotonic()
            self.page.keys, self.page.dead_man = to_and_fro, True
            self.rig.client.spin(1.0)
            if self.status.commander == "operator" and self.status.state == ArmStatus.MOVING:
                self.rig.wait_for_motion(pressed)
                return pressed
            assert time.monotonic() < end, f"the page does not get the arm: {self.page.told}; {self.rig.state()}"

    def stays_held(self) -> None:
        """Nothing moves, though the page says that all is held down still."""
        self.nothing_moves(time.monotonic())


@pytest.fixture(scope="module")
def paged(listener: Client, user_folder: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paged]:
    rig = Rig(listener, tmp_path_factory.mktemp("page"))
    try:
        yield Paged(rig)
    finally:
        rig.close()


@pytest.fixture
def operator(paged: Paged) -> Iterator[Paged]:
    """The policy moves the arm; then the page does."""
    rig_in_motion = paged.rig.in_motion()
    next(rig_in_motion)
    paged.take()
    yield paged
    paged.page.dead_man, paged.page.keys = False, []
    paged.rig.wait(lambda: paged.status.state != ArmStatus.MOVING, "the operator's hold")
    next(rig_in_motion, None)


def test_a_release(operator: Paged, note: Callable[..., None]) -> None:
    released = time.monotonic()
    operator.page.dead_man = False
    held = operator.holds(released)
    on = operator.goes_on()
    note(
        "the page's dead-man is released",
        f"holds after {held:.2f} s",
        LET_GO,
        f"a press moves it on ({on:.1f} s in all)",
    )
    assert held <= HOLD_S


def test_the_network_is_cut(operator: Paged, note: Callable[..., None]) -> None:
    cut = time.monotonic()
    operator.page.cut.set()
    held = operator.holds(cut)
    operator.page.cut.clear()  # what waited in the network comes now
    operator.stays_held()
    on = operator.goes_on()
    note("the network of the page is cut, and whole again", f"holds after {held:.2f} s", LET_GO, WAIT.format(on))
    assert held <= SILENT_S


def test_the_page_sleeps(operator: Paged, note: Callable[..., None]) -> None:
    """Its browser takes what comes and says nothing, as a tab in the background or a locked phone."""
    asleep = time.monotonic()
    operator.page.speaks = False
    held = operator.holds(asleep)
    operator.page.speaks = True
    operator.stays_held()
    on = operator.goes_on()
    note("the page falls asleep, and wakes", f"holds after {held:.2f} s", LET_GO, WAIT.format(on))
    assert held <= SILENT_S


def test_the_tab_is_closed(operator: Paged, note: Callable[..., None]) -> None:
    closed = time.monotonic()
    operator.page.close()
    held = operator.holds(closed)
    operator.page = operator.open()
    on = operator.goes_on()
    note("the tab is closed, and opened again", f"holds after {held:.2f} s", LET_GO, WAIT.format(on))
    assert held <= HOLD_S


def test_a_slow_network(operator: Paged, note: Callable[..., None]) -> None:
    """Half a second on the way here: what the page says is older than what counts."""
    slow = time.monotonic()
    operator.page.late_s = 0.5
    held = operator.holds(slow)
    operator.page.late_s = 0.0
    operator.rig.client.spin(1.0)
    on = operator.goes_on()
    note("what the page says comes 0.5 s late", f"holds after {held:.2f} s", LET_GO, WAIT.format(on))
    assert held <= SILENT_S


@pytest.mark.parametrize(
    ("beat", "fault"), [(10**9, "the page names a beat of the future"), (float("nan"), "the page names no number")]
)
def test_a_beat_that_was_never_sent(operator: Paged, note: Callable[..., None], beat: float, fault: str) -> None:
    said = time.monotonic()
    operator.page.beat = beat
    operator.rig.wait(lambda: operator.status.state == ArmStatus.HELD, "the state held")
    operator.page.beat = None  # a page that says too much that nobody understands is sent away
    held = operator.holds(said)
    operator.stays_held()
    on = operator.goes_on()
    note(fault, f"holds after {held:.2f} s", LET_GO, WAIT.format(on))
    assert held <= HOLD_S


def test_a_second_page(operator: Paged, note: Callable[..., None]) -> None:
    """The first to press keeps the arm; the other one is told, and does not get it when the first lets go."""
    begun = time.monotonic()
    with contextlib.closing(operator.open()) as other:
        other.keys, other.dead_man = ["w"], True
        operator.rig.wait(lambda: ANOTHER in other.told, "the other page's answer")
        operator.rig.client.spin(1.0)
        pauses = operator.rig.pauses(begun)
        released = time.monotonic()
        operator.page.dead_man = False
        held = operator.holds(released)
        operator.stays_held()
    note(
        "a second page presses",
        f"follows the first; longest pause {pauses.max():.2f} s",
        "another page has the arm by hand",
        f"a release of the first holds after {held:.2f} s",
    )
    assert pauses.max() <= HOLD_S + PERIOD_S and held <= HOLD_S


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=lambda number: number.name)
def test_the_page_s_node_fails(operator: Paged, note: Callable[..., None], number: signal.Signals) -> None:
    held = operator.holds(operator.rig.kill("console", number))
    if number == signal.SIGKILL:
        operator.page.close()
        operator.start()
        operator.page = operator.open()
        fault = "the page's process killed (SIGKILL), and started again"
    else:
        operator.rig.kill("console", signal.SIGCONT)
        operator.stays_held()
        fault = "the page's process hangs (SIGSTOP)"
    on = operator.goes_on()
    note(fault, f"holds after {held:.2f} s", LET_GO, WAIT.format(on))
    assert held <= HOLD_S
