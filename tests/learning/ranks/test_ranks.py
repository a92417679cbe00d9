"""Promise: several ranks train as one process does, every agent; and what does not fit is refused before an update."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.ranks.ranks import ALONE, Ranks, _buckets, _require_apart, joined_ranks
from mqe_core.learning.ranks.sharing import shared_out
from mqe_core.learning.rows.augmentation import ShiftAugmentation
from mqe_core.learning.rows.bridge_augmentation import BridgeAugmentation
from mqe_core.learning.rows.training_data import TrainingData
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.shareable import require_shareable
from mqe_core.learning.run.train import resume, train
from tests.learning.ranks import rank_pair
from tests.learning.ranks.rank_pair import CASES, two_ranks

pytestmark = pytest.mark.timeout(1200)  # a machine may be busy with other tests

Config = Callable[..., RunConfig]

# Their losses are means over rows, each of which needs no other: what ranks average is exact.
ROW_BY_ROW = {"gcbc", "gcivl", "hiql"}


@pytest.fixture(scope="module")
def found(synthetic_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """What a pair of processes found: see `rank_pair`."""
    out = tmp_path_factory.mktemp("pair") / "found.json"
    processes = two_ranks(Path(rank_pair.__file__), synthetic_store, out, PYTHONPATH=str(Path(__file__).parents[3]))
    said = [process.communicate(timeout=900)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    return json.loads(out.read_text())


def test_every_agent_is_among_what_is_trained() -> None:
    assert CASES.keys() >= AGENTS.keys()


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_train_as_one_process(case: str, found: dict[str, dict[str, float]]) -> None:
    """In float64: each loss to 1e-9 of its size, and each parameter after 20 updates to 1e-6."""
    errors = found[case]
    assert errors["loss"] <= 1e-9 * max(errors["largest loss"], 1.0)
    assert errors["parameters"] <= 1e-6


@pytest.mark.parametrize("case", [case for case in CASES if not CASES[case].get("actor_goals_crossed")])
def test_averages_of_what_ranks_know_by_themselves_would_be_noticed(
    case: str, found: dict[str, dict[str, float]]
) -> None:
    error = found[case]["naive loss"]
    bar = 1e-9 * max(found[case]["largest loss"], 1.0)
    row_by_row = case.split(",")[0] in ROW_BY_ROW
    assert error <= bar if row_by_row else error > 10 * bar


@pytest.mark.parametrize("augmentation", [ShiftAugmentation(1.0, 3, 0.3), BridgeAugmentation()])
def test_a_rank_changes_its_own_images_as_one_process_does(augmentation: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 12, 12, 3), dtype=np.uint8)
    for alike in (None, np.array([4, 2, 4, 9, 2, 4])):
        whole = augmentation.draw(np.random.default_rng(1), 6, alike)(images)
        rngs = [np.random.default_rng(1) for _ in range(3)]
        parts = [
            augmentation.draw(rng, 6, alike, own)(images[:, own])
            for rng, own in zip(rngs, (slice(0, 2), slice(2, 4), slice(4, 6)))
        ]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
        assert rngs[0].random() == rngs[2].random()


def test_a_rank_loads_the_rows_of_its_slice(synthetic_store: Path, tiny_config: Config) -> None:
    store, config = EpisodeStore.open(synthetic_store), tiny_config(observation="pixels", augment_kind="bridge")
    batches = [
        TrainingData(store, config, torch.device("cpu"), progress=False, ranks=ranks).sample(
            np.random.default_rng(0), ("observation", "waypoint")
        )
        for ranks in (ALONE, Ranks(0, 4), Ranks(3, 4))
    ]
    whole, *parts = batches
    for part, own in zip(parts, (slice(0, 2), slice(6, 8))):
        assert part.own == own and torch.equal(part.actions, whole.actions)
        for name, frames in whole.frames.items():
            assert torch.equal(part.frames[name][own], frames[own])
            assert torch.equal(part.steps[name], whole.steps[name])


def test_goals_of_other_rows_are_loaded_by_every_rank(synthetic_store: Path, tiny_config: Config) -> None:
    config = tiny_config(observation="pixels", actor_goals_crossed=True)
    store = EpisodeStore.open(synthetic_store)
    data = TrainingData(store, config, torch.device("cpu"), progress=False, ranks=Ranks(0, 2))
    assert data.sample(np.random.default_rng(0), ("observation", "actor_goal")).own is None


def test_an_encoder_takes_whole_batches_where_other_rows_are_not_loaded(
    synthetic_store: Path, tiny_config: Config
) -> None:
    ranks = Ranks(1, 2)
    config, store = tiny_config(agent="gcbc", observation="pixels"), EpisodeStore.open(synthetic_store)
    data = TrainingData(store, config, torch.device("cpu"), progress=False, ranks=ranks)
    batch = data.sample(np.random.default_rng(0), ("observation", "actor_goal"))
    agent = AGENTS["gcbc"][0](config.agent, data.observations.spec, 7)
    part = {name: frames[:6] for name, frames in batch.frames.items()}
    with shared_out(agent, batch, ranks), pytest.raises(RuntimeError, match="6 pictures of a batch of 8"):
        agent.actor(part["observation"], part["actor_goal"])
    agent.actor(part["observation"], part["actor_goal"])  # nothing of it is left behind


def test_gradients_travel_in_buckets_of_one_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mqe_core.learning.ranks.ranks.BUCKET", 10)
    sizes = [(4, torch.float32), (4, torch.float32), (4, torch.float32), (20, torch.float32), (1, torch.float64)]
    buckets = _buckets([torch.zeros(size, dtype=dtype) for size, dtype in sizes])
    assert [[len(gradient) for gradient in bucket] for bucket in buckets] == [[4, 4], [4], [20], [1]]


def test_without_torchrun_a_process_is_alone() -> None:
    with joined_ranks() as ranks:
        assert ranks is ALONE


# Bad input


@dataclasses.dataclass(frozen=True)
class Told(Ranks):
    """Rank 0 of two, the other of which has `differs` in place of what this one has."""

    world: int = 2
    differs: dict[str, str] = dataclasses.field(default_factory=dict)

    def _all(self, own: Any) -> list[Any]:
        return [own, {**own, **self.differs}]


@pytest.mark.parametrize(
    ("differs", "words"),
    [
        ({"the version of mqe": "0.1"}, "the version of mqe differs: .* on rank 0, 0.1 on rank 1.*the same version"),
        ({"the version of torch": "2.0"}, "the version of torch differs"),
        ({"the data's fingerprint": "beef"}, "the data's fingerprint differs: .* on rank 0, beef on rank 1"),
        ({"the key batch_size": "16"}, "the key batch_size differs: 8 on rank 0, 16 on rank 1"),
    ],
)
def test_ranks_that_differ_are_refused(
    differs: dict[str, str], words: str, synthetic_store: Path, tiny_config: Config
) -> None:
    store, config = EpisodeStore.open(synthetic_store), tiny_config(observation="pixels")
    require_shareable(config, store, Told())
    with pytest.raises(ValueError, match=words):
        require_shareable(config, store, Told(differs=differs))
    require_shareable(config, store, Told(differs={"the key threads": "7", "the key image_cache_mb": "100.0"}))


def test_a_rank_with_a_gpu_and_one_without_are_refused() -> None:
    with pytest.raises(ValueError, match="the kind of device differs: cpu on rank 0, cuda on rank 1"):
        Told(differs={"the kind of device": "cuda"}).require_apart(torch.device("cpu"))


def test_two_ranks_on_one_gpu_are_refused() -> None:
    _require_apart(["", "", ""])
    _require_apart(["GPU-1", "GPU-2"])
    with pytest.raises(ValueError, match=r"ranks 1 and 2 both train on the GPU GPU-2.*--nproc-per-node"):
        _require_apart(["GPU-1", "GPU-2", "GPU-2"])


def test_a_batch_that_does_not_divide_is_refused(synthetic_store: Path, tiny_config: Config) -> None:
    with pytest.raises(ValueError, match=r"batch_size \(8\) does not divide among 3 ranks: choose a multiple of 3"):
        require_shareable(tiny_config(), EpisodeStore.open(synthetic_store), Ranks(world=3))


class Three(Told):
    """Rank 0 of three."""

    def from_first(self, make: Callable[[], Any]) -> Any:
        return make()


def test_a_run_is_not_resumed_by_ranks_that_its_batch_does_not_divide(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config
) -> None:
    out, config = tmp_path / "run", tiny_config(observation="pixels", steps=2)
    train(synthetic_store, out, config, progress=False)
    before = (out / "checkpoints" / "latest.pt").read_bytes()
    longer = tiny_config(observation="pixels", steps=4)
    with pytest.raises(ValueError, match=r"batch_size \(8\) does not divide among 3 ranks"):
        resume(synthetic_store, out, longer, progress=False, ranks=Three(world=3))
    assert (out / "checkpoints" / "latest.pt").read_bytes() == before
    with pytest.raises(ValueError, match="the data's fingerprint differs"):
        resume(synthetic_store, out, longer, progress=False, ranks=Three(differs={"the data's fingerprint": "beef"}))


@pytest.mark.parametrize("keys", [{"observation": "state"}, {"features_of": "policy.onnx"}])
def test_a_run_without_an_image_encoder_is_refused(
    keys: dict[str, Any], synthetic_store: Path, tiny_config: Config
) -> None:
    store = EpisodeStore.open(synthetic_store)
    require_shareable(tiny_config(**keys), store, ALONE)
    with pytest.raises(ValueError, match="train it in one process"):
        require_shareable(tiny_config(**keys), store, Told())
