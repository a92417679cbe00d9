"""A camera as a node: the sim's, a replayed episode, or a video device; others bring their own drivers.

Its parameters are `parameters.CAMERA_NODE`. Every image is published once, stamped with the moment it was taken.
"""

from __future__ import annotations

import sys
import time

from diagnostic_msgs.msg import DiagnosticStatus

from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.backends import make_camera
from mqe_ros import convert, topics
from mqe_ros.parameters import CAMERA_NODE, CAMERAS
from mqe_ros.running import ControlNode, run_node

_SILENCE_S = 1.0  # no new image for so long is worth a warning


class CameraNode(ControlNode):
    """The control thread reads at `rate_hz` and publishes what is new."""

    def __init__(self) -> None:
        super().__init__("camera_node", CAMERA_NODE)
        self._spec = load_robot_spec(self.value_of("robot"))
        name = self.value_of("camera")
        if name not in CAMERAS:
            raise ValueError(f"the parameter camera must be one of {', '.join(CAMERAS)}; got {name!r}")
        options = {option: self.value_of(option) for option in CAMERAS[name]}
        self._period = 1.0 / self.value_of("rate_hz", otherwise=self._spec.camera.rate_hz)
        self._camera = make_camera(name, self._spec, **options)
        self._image = self.publish_on(topics.IMAGE)
        self._published = 0
        self._newest: float | None = None
        self.get_logger().info(f"camera {self._spec.camera.name}: {name} {' '.join(options.values())}")

    def control(self) -> None:
        start, k = time.monotonic(), 0
        while self.sleep_until(start + k * self._period):
            frame = self._camera.read()
            if frame is not None and frame.stamp != self._newest:
                self._newest = frame.stamp
                self._image.publish(
                    convert.array_to_image(frame.image, self.stamp_message(frame.stamp), self._spec.camera.name)
                )
                self._published += 1
            k = max(k + 1, int((time.monotonic() - start) / self._period))

    def stop(self) -> None:
        super().stop()
        self._camera.close()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        if self._newest is None:
            return DiagnosticStatus.WARN, "no image yet", {"published": 0}
        age = time.monotonic() - self._newest
        level, message = (DiagnosticStatus.OK, "ok") if age < _SILENCE_S else (DiagnosticStatus.WARN, "no new image")
        return level, message, {"published": self._published, "age_s": f"{age:.3f}"}


def main() -> None:
    sys.exit(run_node(CameraNode))


if __name__ == "__main__":
    main()
