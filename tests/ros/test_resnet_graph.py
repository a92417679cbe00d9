"""Promise: a policy with BridgeData's ResNet runs in the graph as any other does: the arm is sent what its network
answers to the pictures that the camera shows. Not trained, as that changes nothing of it.

Real processes on the mock backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

import torch

from mqe_bringup.graph import build_graph
from mqe_bringup.supervisor import Supervisor
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.images import read
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.export.half import halved
from mqe_core.learning.export.onnx_graph import deployed_policy, to_onnx
from mqe_core.learning.rows.observations import ObservationSpec
from mqe_core.learning.run.run_config import make_config
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.runtime.onnx_policy import OnnxPolicy
from tests.ros.ros_helpers import Client, diagnosed, figures, reach

pytestmark = pytest.mark.slow  # an export of a ResNet takes a quarter of a minute

SIZE = 64  # pixels


@pytest.fixture(scope="module")
def resnet(make_bundle: Callable[..., Path]) -> Path:
    """A bundle of MQE with one ResNet-18 for critic and policy, its weights in float16."""
    keys = {"agent": "mqe", "encoder": "resnet18", "encoder_shared": True, "actor_fusion": "late", "latent_dim": 64}
    config = make_config({**keys, "hidden_dims": [64, 64]})
    torch.manual_seed(0)
    agent = AGENTS["mqe"][0](config.agent, ObservationSpec("pixels", image_size=SIZE), 7)
    low, high = torch.tensor([-0.002] * 3 + [-0.01] * 3 + [0.0]), torch.tensor([0.002] * 3 + [0.01] * 3 + [1.0])
    return make_bundle(model=halved(to_onnx(deployed_policy(agent, low, high), SIZE)), image_size=SIZE)


@pytest.fixture
def driving(
    resnet: Path, synthetic_store: Path, user_folder: Path, client: Client, tmp_path: Path
) -> Iterator[Supervisor]:
    graph = build_graph({"backend": "mock", "policy": str(resnet), "camera": str(synthetic_store)})
    supervisor = Supervisor(graph.environment, log_folder=tmp_path)
    supervisor.start(graph.processes)
    client.wait(lambda: supervisor.ended() or client.newest("/policy/status"), "the graph")
    yield supervisor
    assert set(supervisor.stop().values()) == {0}


def test_a_resnet_drives_the_arm_by_what_it_sees(
    driving: Supervisor, resnet: Path, synthetic_store: Path, user_folder: Path, client: Client
) -> None:
    goal = reach(client)
    goal.moving()
    client.heard["/policy/command"].clear()
    client.wait(lambda: len(client.heard["/policy/command"]) >= 3, "three commands")
    sent = client.heard["/policy/command"][:3]
    said = figures(diagnosed(client, "active"))
    goal.cancel()
    goal.result()
    assert float(said["latency_ms"]) > 0.0

    store = EpisodeStore.open(synthetic_store)
    policy = OnnxPolicy(PolicyBundle.open(resnet))
    picture = read(user_folder / "goals" / "corner.png")
    answers = [policy.act(image, picture) for image in store.images(np.arange(store.num_frames))]
    actions = np.array([answer.action for answer in answers])
    steps = np.array([answer.steps_to_goal for answer in answers])
    for command in sent:
        alike = np.abs(actions - command.action).max(axis=1) < 1e-4
        assert alike.any() and np.abs(steps[alike] - command.steps_to_goal).min() < 1e-2
    assert len(np.unique(actions.round(5), axis=0)) > len(actions) / 2  # it looks
