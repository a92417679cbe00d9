"""What the camera sees beside what the goal shows, or what it saw in the policy's training: side by side, one over the
other, or their difference.
"""

from __future__ import annotations

from nicegui import run, ui

from mqe_core.console.camera_shift import camera_shift
from mqe_core.console.console import Console
from mqe_core.console.link import CAMERA, GOAL, REFERENCE, Snapshot
from mqe_core.ros_names import IMAGE

_COMPARE_S = 3.0  # between two measurements of the shift, while it is looked at
_BESIDE, _OVER, _DIFFERENCE = "side by side", "overlay", "difference"
_AGAINST = {GOAL: "the goal", REFERENCE: "the training"}  # what the camera is compared with


class PictureCard:
    """The pictures themselves come by `live`; their views are the browser's (opacity, blending)."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._compared = -float("inf")
        with ui.card().classes("card"):
            with ui.row().classes("card-head"):
                self._views = ui.toggle([_BESIDE, _OVER, _DIFFERENCE], value=_BESIDE, on_change=self._on_view)
                self._views.props(
                    'no-caps unelevated toggle-color="" toggle-text-color="own" aria-label="how the pictures are shown"'
                )
                self._against = ui.toggle(_AGAINST, value=GOAL, on_change=self._on_view)
                self._against.props(
                    'no-caps unelevated toggle-color="" toggle-text-color="own" aria-label="beside which picture"'
                )
                self._share = ui.slider(min=0, max=100, value=50, on_change=self._on_share).classes("share")
                self._share.props('aria-label="how much of the other picture is seen over the camera"')
            with ui.element("div").classes("pictures beside") as self._pictures:
                self._names = {
                    CAMERA: self._picture(CAMERA, "camera"),
                    GOAL: self._picture(GOAL, "goal"),
                    REFERENCE: self._picture(REFERENCE, "in training, without what moved"),
                }
            self._shift = ui.label("").classes("detail").props('role="status"')
        self._on_view()

    def show(self, snapshot: Snapshot, now: float) -> None:
        """As `page.Part`."""
        rate = snapshot.rates.get(IMAGE, 0.0)
        has_goal = self._console.link.picture_number(GOAL) > 0
        self._names[CAMERA].set_text(f"camera, {rate:.0f} pictures a second" if rate else "camera: no picture comes")
        self._names[GOAL].set_text("goal" if has_goal else "goal: none yet")
        has_reference = self._console.link.picture_number(REFERENCE) > 0
        self._against.set_visibility(has_reference)
        if not has_reference and self._against.value == REFERENCE:  # another policy, which knows none
            self._against.set_value(GOAL)

        if self._is_compared and now - self._compared > _COMPARE_S:
            self._compared = now
            ui.timer(0.0, self._compare, once=True)

    @property
    def _is_compared(self) -> bool:
        """Whether the two pictures are looked at as one."""
        return bool(self._views.value != _BESIDE)

    async def _compare(self) -> None:
        """Say by how much the camera was moved since the other picture was taken."""
        self._shift.set_text(str(await run.io_bound(self._shift_words) or ""))

    def _shift_words(self) -> str:
        against = str(self._against.value)
        try:
            camera, other = (self._console.link.picture(name) for name in (CAMERA, against))
        except ValueError as error:
            return f"the pictures cannot be compared: {error}"
        if camera is None or other is None:
            return ""
        return camera_shift(camera.image, other.image).words(_AGAINST[against])

    def _picture(self, name: str, words: str) -> ui.label:
        with ui.element("figure").classes(f"picture {name}" if name == CAMERA else f"picture {name} other"):
            ui.element("img").props(f'data-picture="{name}" alt="{words}: the newest picture" width=640 height=480')
            with ui.element("figcaption"):
                return ui.label(words)

    def _on_view(self) -> None:
        view = str(self._views.value)
        kind = {_BESIDE: "beside", _OVER: "over", _DIFFERENCE: "difference"}[view]
        against = f"against-{self._against.value}"
        others = {"beside", "over", "difference", *(f"against-{name}" for name in _AGAINST)} - {kind, against}
        self._pictures.classes(add=f"{kind} {against}", remove=" ".join(others))
        self._compared = -float("inf")
        self._share.set_visibility(view == _OVER)
        self._shift.set_visibility(self._is_compared)
        self._on_share()

    def _on_share(self) -> None:
        self._pictures.style(f"--share: {self._share.value / 100:.2f}")
