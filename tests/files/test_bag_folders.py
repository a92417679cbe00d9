"""Promise: a recording's bags are found together, and a new recording never becomes part of another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mqe_core.files.bag_folders import continuations, numbered, require_new


def test_the_bags_of_a_long_recording_are_found_in_their_order(tmp_path: Path) -> None:
    for name in ("day", "day-10", "day-2", "day-2b", "day-", "days-2", "other-2", "day-2-3"):
        (tmp_path / name).mkdir()
    assert [path.name for path in continuations(tmp_path / "day")] == ["day-2", "day-10"]
    assert [numbered(tmp_path / "day", number).name for number in (1, 2, 10)] == ["day", "day-2", "day-10"]


@pytest.mark.parametrize(
    ("there", "wanted", "reason"),
    [
        ("drawer", "drawer", "drawer exists already; name a new folder"),
        ("drawer-2", "drawer", "drawer-2 exists already: a long recording .* rename that one"),
        ("drawer-17", "drawer", "drawer-17 exists already"),
        (
            "drawer",
            "drawer-2",
            "drawer-2 would count as the continuation of .*drawer, .* does not end in - and a number",
        ),
    ],
)
def test_a_recording_that_would_mix_with_another_one_is_refused(
    tmp_path: Path, there: str, wanted: str, reason: str
) -> None:
    (tmp_path / there).mkdir()
    with pytest.raises(ValueError, match=reason):
        require_new(tmp_path / wanted)


@pytest.mark.parametrize("wanted", ["drawer_2", "2026-01-02_10-11-12", "cup-2", "draw"])
def test_any_other_name_is_free(tmp_path: Path, wanted: str) -> None:
    (tmp_path / "drawer").mkdir()
    require_new(tmp_path / wanted)
    require_new(tmp_path / "nowhere" / wanted)


@pytest.mark.parametrize("folder", ["/proc/mqe/bag", "/sys/bag", "/dev/null/bag"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_start(folder: str) -> None:
    with pytest.raises((OSError, ValueError), match=f"{folder} cannot be made"):
        require_new(Path(folder))
