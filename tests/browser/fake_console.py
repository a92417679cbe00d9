"""The operator's page over a graph that is none, as a process of its own that a test may kill.

    python -m tests.browser.fake_console PORT FOLDER [seconds that a hold takes [a token that is needed]]

New goals go into FOLDER/goals, and recordings are read in FOLDER/bags. What is asked of the graph is printed. The arm
does what an arm does: it is held some time after it is asked, an operator's while a page's hand counts, and held when
that lets go.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from mqe_core.console.hands import Hands
from mqe_core.console.link import HOLD, RESUME, ArmView
from mqe_core.console.listening import listening
from mqe_core.console.server import ConsoleServer
from mqe_core.robot.ranks import OPERATOR
from tests.console.fake_link import FakeLink, fake_console

_LOOK_S = 0.02


class SlowArm(FakeLink):
    """Holds `hold_s` after it is asked to."""

    def __init__(self, hold_s: float) -> None:
        super().__init__()
        self._hold_s = hold_s

    def _follow(self, act: str, text: str) -> None:
        if act == HOLD:
            time.sleep(self._hold_s)
        super()._follow(act, text)

    def do(self, act: str, text: str = "") -> str:
        print(f"asked: {act}", flush=True)
        return super().do(act, text)

    def follow_hands(self, hands: Hands) -> None:
        """For a thread: a hand that counts has the arm, also a held one, and leaves it held."""
        had = False
        while True:
            has = hands.wish(time.monotonic()).engaged
            if has != had:
                print(f"asked: {'taken' if has else 'let go'} by hand", flush=True)
                self._arm = ArmView(0.0, "moving", commander=OPERATOR) if has else ArmView(0.0, "held", "let go")
            had = has
            time.sleep(_LOOK_S)


def main() -> None:
    port, folder, hold_s = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]) if sys.argv[3:] else 0.0
    link = SlowArm(hold_s)
    console = fake_console(link, folder / "goals", folder / "bags")
    hands = Hands(console.devices, lambda act: link.do(act) if act in (HOLD, RESUME) else None)
    threading.Thread(target=link.follow_hands, args=(hands,), daemon=True).start()
    where = listening(f"127.0.0.1:{port}", token=sys.argv[4] if sys.argv[4:] else None)
    server = ConsoleServer(replace(console, hands=hands), where)
    server.start()
    print(server.where.link, flush=True)
    while server.failure is None:
        time.sleep(0.2)


if __name__ == "__main__":
    main()
