"""Promise: each name of a safety rule or of a reason to send nothing has one home, which tells what it means."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest

from mqe_core.policy import reachability
from mqe_core.robot import safety_rules
from mqe_core.runtime import policy_reasons

ROOT = Path(__file__).parents[2]
TABLES = {
    safety_rules: (safety_rules.CLIP_RULES, safety_rules.REFUSE_RULES, safety_rules.NOT_NOW),
    policy_reasons: (policy_reasons.REASONS,),
}


@pytest.mark.parametrize("module", TABLES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_name_stands_in_one_table_with_its_meaning(module: ModuleType) -> None:
    constants = [value for key, value in vars(module).items() if key.isupper() and isinstance(value, str)]
    tabled = [name for table in TABLES[module] for name in table]
    assert sorted(constants) == sorted(tabled) and len(set(tabled)) == len(tabled)
    assert all(meaning and "\n" not in meaning for table in TABLES[module] for meaning in table.values())


def test_nobody_spells_a_name_by_himself() -> None:
    """Where the name is no common word, which a text may hold for another reason."""
    names = {name for tables in TABLES.values() for table in tables for name in table if "_" in name}
    assert len(names) > 20
    homes = {Path(module.__file__) for module in (*TABLES, reachability)}  # policy_reasons tables what its rule says
    spelled = []
    for path in [file for folder in ("mqe_core", "sim", "ros2_ws/src") for file in (ROOT / folder).rglob("*.py")]:
        if path not in homes:
            constants = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
            spelled += [
                f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
                for node in constants
                if isinstance(node, ast.Constant) and node.value in names
            ]
    assert not spelled
