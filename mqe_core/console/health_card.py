"""How the graph is: what each node says of itself, rates, latency, misses, and the motors' temperatures."""

from __future__ import annotations

from nicegui import ui

from mqe_core.console.link import Snapshot
from mqe_core.console.tone import Tone
from mqe_core.console.words import say_diagnosis

_SHOW_S = 1.0


class HealthCard:
    """One line a node, and the figures below."""

    def __init__(self) -> None:
        self._shown = -float("inf")
        self._nodes: dict[str, Tone] = {}
        with ui.card().classes("card"):
            ui.label("Health").classes("title").props('role="heading" aria-level="2"')
            self._figures = ui.label("").classes("figures")
            self._list = ui.element("div").classes("nodes")
            with ui.expansion("all figures").props("dense"):
                self._all = ui.label("").classes("figures")

    def show(self, snapshot: Snapshot, now: float) -> None:
        """As `page.Part`, once a second."""
        if now - self._shown < _SHOW_S:
            return
        self._shown = now
        self._figures.set_text(" · ".join(_figures(snapshot)))
        for name, diagnosis in sorted(snapshot.diagnoses.items()):
            if name not in self._nodes:
                with self._list:
                    self._nodes[name] = Tone(name)
            said = say_diagnosis(diagnosis, now)
            self._nodes[name].show(type(said)(said.tone, f"{name}: {said.title}", said.detail))
        every = [
            f"{name}  {key}  {value}"
            for name, diagnosis in sorted(snapshot.diagnoses.items())
            for key, value in diagnosis.figures.items()
        ]
        every += [f"{topic}  {rate:.1f} Hz" for topic, rate in sorted(snapshot.rates.items())]
        self._all.set_text("\n".join(every))


def _figures(snapshot: Snapshot) -> list[str]:
    """The few that count."""
    found = []
    if snapshot.policy is not None:
        if snapshot.policy.latency_ms is not None:
            found.append(f"image to command {snapshot.policy.latency_ms:.0f} ms")
        found.append(f"{snapshot.policy.deadline_misses} deadlines missed")
    degrees = [
        f"{key} {value}"
        for diagnosis in snapshot.diagnoses.values()
        for key, value in diagnosis.figures.items()
        if "temperature" in key
    ]
    return found + degrees
