"""The operator's page of a running graph, served to a browser: what it shows, and what is asked by it.

Its parameters are `parameters.CONSOLE_NODE`. By hand it moves the arm as any operator: by /operator/command, and
through the arm's limits. The page itself is `mqe_core.console`, which knows no ROS.
"""

from __future__ import annotations

import concurrent.futures
import math
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from mqe_core.console.console import Console, Thresholds
from mqe_core.console.goals_folder import GoalsFolder, Meaning
from mqe_core.console.hands import Hands
from mqe_core.console.link import CAMERA, HOLD, RESUME, Picture, Snapshot
from mqe_core.console.listening import listening
from mqe_core.console.recordings import Recordings
from mqe_core.console.server import ConsoleServer
from mqe_core.robot.episode_marks import DISCARD, START, STOP
from mqe_core.robot.geometry import pose_to_state
from mqe_core.robot.spec import load_robot_spec, with_table_height
from mqe_core.runtime.aside import Aside
from mqe_core.runtime.teleop.devices import EPISODE, FASTER, GRIPPER, SLOWER, load_devices
from mqe_ros.graph_acts import GraphActs
from mqe_ros.graph_watch import GraphWatch
from mqe_ros.operator_commands import OperatorCommands
from mqe_ros.parameters import CONSOLE_NODE
from mqe_ros.running import ControlNode, run_node

_MAX_PICTURE_AGE_S = 1.0  # of one that becomes a goal
_ACTING_S = 10.0  # for what a hand's buttons ask
_ASKED = (HOLD, RESUME, START, STOP, DISCARD)


class ConsoleNode(ControlNode):
    """Callbacks note what the graph says; the control thread sends an operator's commands; a third thread serves."""

    def __init__(self) -> None:
        super().__init__("console_node", CONSOLE_NODE)
        spec = load_robot_spec(self.value_of("robot"))
        height = self.value_of("table_height_m")
        if math.isfinite(height):
            spec = with_table_height(spec, height)
        own = self.value_of("devices")
        devices = load_devices(Path(own).expanduser() if own else None)
        self._hands = Hands(devices, self._on_act)
        self._watch = GraphWatch(self, spec)
        self._acts = GraphActs(self, self._capture, lambda said: self.get_logger().info(said))
        self._commands = OperatorCommands(self, spec, devices, self._hands.wish)
        self._asides = {act: Aside(_ACTING_S) for act in _ASKED}  # none waits for another
        own_goals, *shipped = (Path(folder) for folder in self.value_of("goal_folders").split(os.pathsep))
        self._goals = GoalsFolder(own_goals, shipped)
        seed = self.value_of("seed")
        self._meaning = Meaning(
            spec.camera,
            self.value_of("camera_domain"),
            task=self.value_of("task") or None,
            seed=seed if seed >= 0 else None,
        )
        recordings = Recordings(Path(self.value_of("recordings")))
        console = Console(self, self._hands, spec, devices, self._goals, self._meaning, recordings, self._thresholds())
        self._server = ConsoleServer(console, listening(self.value_of("address")))
        self._tell_link()

    def start(self) -> None:
        super().start()
        self._server.start()

    def control(self) -> None:
        self._commands.run()

    def stop(self) -> None:
        self._server.stop()
        super().stop()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        if (failure := self._server.failure) is not None:
            self.failure = self.failure or failure
        level, said, figures = self._commands.diagnose()
        return level, said, {**figures, "port": self._server.where.port}

    # As `Link`; the page's threads call these.

    def snapshot(self) -> Snapshot:
        return self._watch.snapshot()

    def picture_number(self, name: str) -> int:
        return self._watch.picture_number(name)

    def picture(self, name: str) -> Picture | None:
        return self._watch.picture(name)

    def do(self, act: str, text: str = "") -> str:
        return self._acts.do(act, text)

    def _tell_link(self) -> None:
        """Once, and on the terminal alone: it may hold the token, and logs are kept."""
        where = self._server.where
        sys.stderr.write(f"the operator's page: {where.link}\n")
        sys.stderr.flush()
        self.get_logger().info(f"the operator's page is served at {where.host}:{where.port}")

    def _capture(self, name: str) -> str:
        """A goal of what the camera shows now, with the arm where it is."""
        picture, arm = self._watch.picture(CAMERA), self._watch.snapshot().scene
        if picture is None or time.monotonic() - picture.heard > _MAX_PICTURE_AGE_S:
            raise RuntimeError("the camera shows nothing now; no goal was taken")
        if arm.gripper is None:
            raise RuntimeError("the arm has not told yet how far its gripper is open; no goal was taken")
        state = pose_to_state(self._watch.measured(), arm.gripper)
        meaning = replace(self._meaning, capture_pose=tuple(map(float, state)))
        goal = self._goals.add_image(name, picture.image, meaning)
        height, width = picture.image.shape[:2]
        return f"the goal {goal.name} was taken, {width}x{height}"

    def _thresholds(self) -> Thresholds:
        reached, unreachable = self.value_of("reached_steps"), self.value_of("unreachable_steps")
        reached, unreachable = (value if value > 0 else None for value in (reached, unreachable))
        return Thresholds(reached, unreachable, self.value_of("stall_commands") > 0)

    def _on_act(self, act: str) -> None:
        """What a hand's key or button asks for."""
        if act == GRIPPER:
            self._commands.toggle_gripper()
        elif act in (FASTER, SLOWER):
            self._commands.change_speed(1 if act == FASTER else -1)
        elif act == EPISODE:
            episodes = self._watch.snapshot().episodes
            self._ask(STOP if episodes is not None and episodes.is_open else START)
        elif act in (HOLD, RESUME, DISCARD):
            self._ask(act)

    def _ask(self, act: str) -> None:
        """Without waiting for it: a page's other messages go on."""

        def ask() -> None:
            try:
                self.get_logger().info(f"{act}: {self._acts.do(act)}")
            except (ValueError, RuntimeError, OSError) as error:
                self.get_logger().error(f"{act}: {error}")

        self._asides[act].do(ask, concurrent.futures.Future())


def main() -> None:
    sys.exit(run_node(ConsoleNode))


if __name__ == "__main__":
    main()
