"""Promise: the pages on bundle, store, goals and simulator name the keys and choices that the code has."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import yaml

from mqe_core.data.store import layout as store_layout
from mqe_core.policy.contract import BundleContract
from mqe_core.policy.goals import write_goal
from mqe_sim.tasks import TASKS
from mqe_sim.variation import NAMES
from tests.docs.page_tables import ROOT, quoted, rows

INTERFACES = ROOT / "ros2_ws" / "src" / "mqe_interfaces"


def column(page: str, heading: str, name: str) -> list[str]:
    """What stands between backticks in that column, row by row."""
    return [text for row in rows(page, heading) if name in row for text in quoted(row[name])]


def test_the_bundles_contract_stands_there_key_by_key() -> None:
    keys = [key.removeprefix("contract.") for key in column("bundle.md", "The metadata", "key")]
    contract = [field.name for field in dataclasses.fields(BundleContract)]
    assert sorted(keys) == sorted([*contract, "schema", "content_sha256", "golden"])


def test_the_stores_files_and_keys_stand_there() -> None:
    files = column("data.md", "The layout", "file")
    assert set(files) == {
        *(name.replace("_0", "_<c>") for name in store_layout.data_files([0])),
        store_layout.METADATA_FILE,
        f"{store_layout.FEATURES_FOLDER}/",
    }
    assert set(column("data.md", "The layout", "key")) == store_layout.METADATA_KEYS | store_layout.IMPORT_KEYS


def test_a_goals_keys_stand_there(tmp_path: Path) -> None:
    written = write_goal(
        tmp_path / "goal.png",
        np.arange(768, dtype=np.uint8).reshape(16, 16, 3),
        camera="over_shoulder",
        domain="sim",
        capture_pose=[0.0] * 7,
        task="place1",
        seed=3,
    )
    keys = yaml.safe_load(written.path.with_suffix(".yaml").read_text(encoding="utf-8"))
    assert column("operating.md", "Goal files", "key") == list(keys)


def test_the_outcomes_of_a_goal_stand_there() -> None:
    action = (INTERFACES / "action" / "ReachGoal.action").read_text(encoding="utf-8")
    assert sorted(column("operating.md", "How a goal ends", "outcome")) == sorted(
        re.findall(r'^string [A-Z]+ = "(\w+)"', action, re.MULTILINE)
    )


def test_the_randomisations_stand_there() -> None:
    assert column("simulation.md", "Domain randomisation", "name") == list(NAMES)


def test_the_tasks_stand_there() -> None:
    named = set(column("simulation.md", "Tasks", "task"))
    assert named | {"place2", "place3"} == set(TASKS)  # `place1` … `place4`
