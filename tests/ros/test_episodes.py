"""Promise: episodes of a running recording are marked from the command line and from the pad, and imported as marked.

Real processes on the mock backend, with the recorder and a pad's node.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from mqe_bringup.graph import build_graph
from mqe_bringup.supervisor import Supervisor
from mqe_core.data.importer import import_episodes, open_source
from mqe_interfaces.msg import EpisodeStatus
from mqe_interfaces.srv import MarkEpisode
from tests.ros.ros_helpers import PATIENCE_S, Client
from tests.ros.scripted_pad import ScriptedPad


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return tmp_path / "bags" / "day"


@pytest.fixture
def recording(
    constant_policy: Path, synthetic_store: Path, user_folder: Path, tmp_path: Path, bag: Path
) -> Iterator[Supervisor]:
    arguments = {"backend": "mock", "policy": str(constant_policy), "camera": str(synthetic_store), "teleop": "topic"}
    graph = build_graph({**arguments, "record": str(bag)})
    supervisor = Supervisor(graph.environment, log_folder=tmp_path)
    patient = {"max_joy_age_s": 1.0}
    supervisor.start(
        [
            replace(process, parameters={**process.parameters, **patient}) if process.name == "teleop_node" else process
            for process in graph.processes
        ]
    )
    yield supervisor
    supervisor.stop()


def mqe_episode(client: Client, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr. The client goes on listening, and its pad publishing."""
    command = [sys.executable, "-m", "mqe_bringup.episodes", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    client.wait(lambda: process.poll() is not None, f"the end of {words}")
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def test_marks_from_the_command_line_and_the_pad_become_episodes(
    recording: Supervisor, client: Client, bag: Path, tmp_path: Path
) -> None:
    said: list[EpisodeStatus] = []
    from mqe_ros import topics

    kind = topics.EPISODE_STATUS
    client.node.create_subscription(kind.type, kind.name, said.append, kind.qos)
    for name in ("/arm/status", "/arm/ee_target", "/camera/image_raw"):
        client.wait(lambda name=name: recording.ended() or client.newest(name), f"the first message on {name}")
    client.wait(lambda: said, "the recorder's word")
    client.call("/arm/home")
    client.wait(lambda: client.newest("/arm/status").state == "ready", "the end of homing")
    assert (said[-1].number, said[-1].open, said[-1].mark) == (0, False, "")

    code, _, told = mqe_episode(client, "stop")
    assert code == 1 and "there is no episode to stop" in told
    code, _, told = mqe_episode(client, "label", "x" * 5000)
    assert code == 1 and "a label of 5000 bytes" in told

    pad = ScriptedPad(client)
    pad.ready()
    pad.take()
    client.spin(1.5)  # not marked: it does not count
    assert mqe_episode(client, "start") == (0, "episode 1 begins\n", "")
    client.wait(lambda: said[-1].open, "the open episode")
    pad.motion = np.array([0.2, 0, 0, 0, 0, 0])
    client.spin(2.0)
    pad.press("episode")
    client.wait(lambda: not said[-1].open and said[-1].kept == 1, "the end of the episode")
    assert mqe_episode(client, "label", "along x")[0] == 0
    pad.press("episode")
    client.wait(lambda: said[-1].open and said[-1].number == 2, "the second episode")
    pad.motion = np.array([-0.2, 0, 0, 0, 0, 0])
    client.spin(1.0)
    pad.press("discard")
    client.wait(lambda: said[-1].discarded == 1, "the discarded one")
    pad.down.clear()
    client.spin(0.5)
    pad.close()
    assert set(recording.stop().values()) == {0}

    store = import_episodes(open_source(bag), tmp_path / "store", image_size=16, source_name="bag")
    assert store.num_episodes == 1 and store.languages == [["along x"]] and store.operated.all()
    assert 4 <= store.num_frames <= 25
    assert (store.actions[store.valid][:, 0] > -1e-6).all() and store.actions[store.valid][:, 0].max() > 1e-3


def test_the_same_question_is_done_once(recording: Supervisor, client: Client) -> None:
    first, again = (client.ask(MarkEpisode, "/episode/mark", MarkEpisode.Request(id=7, mark="start")) for _ in range(2))
    assert first.success and again.success and first.message == again.message == "episode 1 begins"
    other = client.ask(MarkEpisode, "/episode/mark", MarkEpisode.Request(id=8, mark="start"))
    assert not other.success and "episode 1 is being recorded" in other.message


def test_without_a_recorder_it_says_so(running: Supervisor, client: Client) -> None:
    code, _, told = mqe_episode(client, "start")
    assert code == 1 and "no record_node answers" in told and "record:=true" in told
