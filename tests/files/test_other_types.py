"""Promise: a file of ours whose values are of other types than they should be is refused by its name, and never ends
a command with a traceback. Each value in it, and each group of values, is replaced by null, 1, a text, [] and {}.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from mqe_core.closed_loop.results import read_scores
from mqe_core.commands.data import summarise
from mqe_core.data.merge import merge_stores
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.layout import compute_fingerprint
from mqe_core.images import encode_png
from mqe_core.policy import bundle
from mqe_core.policy.goals import read_goal
from mqe_core.robot import spec as robot_spec
from mqe_core.user_files import configured_policy, configured_table_height
from tests.data.made_episodes import made_episode, write_store

OTHERS: tuple[object, ...] = (None, 1, -1, 1e400, "x", [], {}, [1], {"x": 1})
FORMATS = Path(__file__).parents[1] / "formats" / "v0_1"


def places(content: Any, where: tuple = ()) -> Iterator[tuple]:
    """The way to each value in it, and to each group of values."""
    if where:
        yield where
    entries = list(enumerate(content))[:1] if isinstance(content, list) else []  # the others are alike
    inside = content.items() if isinstance(content, dict) else entries
    for key, value in inside:
        yield from places(value, (*where, key))


def mutated(content: Any, where: tuple, other: object) -> Any:
    """The content with another value there, or without that key."""
    if not where:
        return other
    changed = group = copy.deepcopy(content)
    for key in where[:-1]:
        group = group[key]
    if other == "left out":
        del group[where[-1]]
    else:
        group[where[-1]] = other
    return changed


@pytest.fixture(params=[60, pytest.param(10**6, marks=pytest.mark.slow)], ids=["some", "all"])
def most(request: pytest.FixtureRequest) -> int:
    """How many mutations of a file are tried, drawn with a fixed seed."""
    return request.param


def refused_or_read(content: Any, read: Callable[[Any], object], names: str, most: int) -> None:
    """Each mutation is read, or refused by a ValueError that names the file."""
    tried = [((), other) for other in OTHERS]
    tried += [(where, other) for where in places(content) for other in (*OTHERS, "left out")]
    refused = 0
    for where, other in random.Random(0).sample(tried, min(most, len(tried))):
        what, changed = f"{where} is {other!r}", mutated(content, where, other)
        try:
            read(changed)
        except ValueError as error:
            assert names in str(error) and "\n" not in str(error), f"{what}: {error}"
            refused += 1
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    assert refused > 0


@pytest.mark.parametrize("file", ["metadata.json", "episodes.jsonl"])
def test_a_store(most: int, file: str, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [made_episode(0), made_episode(1)])
    metadata = json.loads((tmp_path / "store/metadata.json").read_text())
    metadata |= {
        "source_files": [{"outcome": "read", "reason": "", "files": 1, "first": "a"}],
        "even_cameras": {"0": 1},
        "unused_cameras": {"wrist": 1},
        "conversion": {"absolute": False},
        "skipped": [{"name": "a", "reason": "b", "episodes": None}],
    }
    path = tmp_path / "store" / file
    first = path.read_text().splitlines()[0]
    content = metadata if file == "metadata.json" else json.loads(first)
    room = len(first) + 1 if file == "metadata.json" else len(first) + 200

    def read(changed: Any) -> None:
        if file == "metadata.json":
            try:
                changed["fingerprint"] = changed["fingerprint"] and compute_fingerprint(changed)
            except (TypeError, KeyError, AttributeError):
                pass  # it cannot be made to fit
            path.write_text(json.dumps(changed))
        else:
            line, others = json.dumps(changed), path.read_text().split("\n", 1)[1]
            path.write_text(line + " " * (room - 1 - len(line)) + "\n" + others)
        opened = EpisodeStore.open(tmp_path / "store")
        summarise(opened)
        opened.images(np.arange(2))
        shutil.rmtree(tmp_path / "merged", ignore_errors=True)
        merge_stores([opened], tmp_path / "merged")

    if file == "episodes.jsonl":  # longer than the line was is found by the file's size; make room
        lines = np.load(tmp_path / "store/episode_lines.npy")
        lines[1:] += room - lines[1]
        np.save(tmp_path / "store/episode_lines.npy", lines)
        metadata["files"][file]["bytes"] = int(lines[-1])
        metadata["fingerprint"] = compute_fingerprint(metadata)
        (tmp_path / "store/metadata.json").write_text(json.dumps(metadata))
    read(content)
    refused_or_read(content, read, str(store.path), most)


def test_a_goal(most: int, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    (tmp_path / "goal.png").write_bytes(encode_png(picture))
    content = yaml.safe_load((FORMATS / "goal.yaml").read_text())

    def read(changed: Any) -> None:
        (tmp_path / "goal.yaml").write_text(yaml.safe_dump(changed))
        read_goal(tmp_path / "goal.png")

    read(content)
    refused_or_read(content, read, "goal.yaml", most)


def test_a_robot_file(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    content = yaml.safe_load((Path(robot_spec.__file__).parents[2] / "robot_configs/widowx250s.yaml").read_text())

    def read(changed: Any) -> None:
        monkeypatch.setattr(robot_spec, "read_yaml", lambda path: changed)
        robot_spec.load_robot_spec("widowx250s")

    read(content)
    refused_or_read(content, read, "widowx250s.yaml", most)


def test_the_users_settings(most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQE_HOME", str(tmp_path))

    def read(changed: Any) -> None:
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(changed))
        configured_policy()
        configured_table_height()

    refused_or_read({"policy": "a.onnx", "table_height_m": 0.1}, read, "config.yaml", most)


def test_a_result(most: int, tmp_path: Path) -> None:
    outcomes = [{"scene_seed": seed, "score": 1.0} for seed in (3, 4)]
    content = {"task": "reach", "stage": None, "max_score": 1.0, "randomise": [], "outcomes": outcomes}

    def read(changed: Any) -> None:
        (tmp_path / "result.json").write_text(json.dumps(changed))
        read_scores(tmp_path)

    read(content)
    refused_or_read(content, read, "result.json", most)


def test_what_came_of_a_collected_episode(most: int, tmp_path: Path) -> None:
    pytest.importorskip("pybullet")
    from mqe_sim.bridge_tree import check_stages

    content = {"score": 1.0, "max_score": 1.0, "event": "", "stages_before": [False], "stages_after": [True]}

    def read(changed: Any) -> None:
        (tmp_path / "outcome.json").write_text(json.dumps(changed))
        check_stages(tmp_path)

    read(content)
    refused_or_read(content, read, "outcome.json", most)


def test_a_bundle(most: int, make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes' hash is made to fit; graph and session are those of a good one."""
    path = make_bundle()
    model = onnx.load(str(path))
    (entry,) = [one for one in model.metadata_props if one.key == bundle.METADATA_KEY]
    session = bundle.PolicySession(model, 1)
    monkeypatch.setattr(bundle, "PolicySession", lambda model, threads, device: session)

    def read(changed: Any) -> None:
        monkeypatch.setattr(bundle, "_parse", lambda data: (model, changed))
        bundle.PolicyBundle.open(path)

    content = json.loads(entry.value)
    read(content)
    refused_or_read(content, read, str(path), most)


def test_a_bundles_metadata_itself(make_bundle: Callable[..., Path]) -> None:
    path = make_bundle()
    model = onnx.load(str(path))
    for text in (
        "",
        "[]",
        "1",
        "null",
        '"x"',
        "{}",
        '{"schema": 1}',
        '{"schema": 1, "content_sha256": 7}',
        "[" * 10**5,
    ):
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, {bundle.METADATA_KEY: text})
        path.write_bytes(model.SerializeToString())
        with pytest.raises(bundle.BundleError, match=str(path)):
            bundle.PolicyBundle.open(path)


@pytest.mark.parametrize("file", ["metadata.json", "config.yaml"])
def test_a_run_folder(most: int, file: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from mqe_core.learning.run import run_folder

    shutil.copytree(FORMATS / "run", tmp_path / "run")
    path = tmp_path / "run" / file
    text = path.read_text()
    content = json.loads(text) if file == "metadata.json" else yaml.safe_load(text)

    def read(changed: Any) -> None:
        path.write_text(json.dumps(changed) if file == "metadata.json" else yaml.safe_dump(changed))
        run_folder.read_config(tmp_path / "run")
        metadata = run_folder.read_metadata(tmp_path / "run")
        run_folder.action_scale(metadata)
        metadata["discount"], metadata["commit"], metadata["begin_from"]

    read(content)
    refused_or_read(content, read, str(tmp_path / "run"), most)
