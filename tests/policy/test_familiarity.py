"""Promise: what a bundle's training pictures span is kept exactly, and a warning needs three pictures in a row."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.contract import BundleError
from mqe_core.policy.familiarity import GRID, MARGIN, Familiarity, PictureWarning

LOW, HIGH = np.full((GRID, GRID, 3), 50, np.uint8), np.full((GRID, GRID, 3), 90, np.uint8)


def even(level: int) -> np.ndarray:
    return np.full((32, 32, 3), level, np.uint8)


def test_the_share_outside_counts_values_beyond_range_and_margin() -> None:
    known = Familiarity(LOW, HIGH, 0.1)
    levels = (50 - MARGIN, 90 + MARGIN, 50 - MARGIN - 1, 90 + MARGIN + 1, 0, 255)
    assert [known.outside(even(level)) for level in levels] == [0, 0, 1, 1, 1, 1]
    half = even(70)
    half[:16] = 200
    half[:, :, 0] = 70
    assert known.outside(half) == pytest.approx(1 / 3, abs=0.05)  # two of three colours, in one half


def test_it_comes_back_from_a_bundle_as_it_was(make_bundle) -> None:
    known = Familiarity(LOW, HIGH, 0.125)
    read = PolicyBundle.open(make_bundle(familiar_pictures=json.loads(json.dumps(known.encoded())))).contract
    assert read.familiarity is not None and read.familiarity.most_outside == 0.125
    np.testing.assert_array_equal(read.familiarity.darkest, LOW)
    np.testing.assert_array_equal(read.familiarity.lightest, HIGH)
    assert "familiar_pictures" not in PolicyBundle.open(make_bundle()).contract.stated()


@pytest.mark.parametrize(
    "wrong",
    [{"darkest": "AAAA"}, {"darkest": "%"}, {"darkest": 3}, {"most_outside": 1.5}, {"most_outside": True}, {"more": 1}],
    ids=str,
)
def test_what_is_none_is_refused_by_name(make_bundle, wrong: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="familiar_pictures"):
        make_bundle(familiar_pictures={**Familiarity(LOW, HIGH, 0.1).encoded(), **wrong})
    with pytest.raises(BundleError, match="familiar_pictures"):
        make_bundle(familiar_pictures=[1])


def test_three_pictures_in_a_row_warn_until_one_is_like_the_others() -> None:
    warning = PictureWarning(0.1)
    said = []
    for outside in (0.2, 0.2, 0.1, 0.2, 0.2, 0.2, 0.3, 0.0):
        warning.update(outside)
        said.append(bool(warning.text))
    assert said == [False] * 5 + [True, True, False]
    silent = PictureWarning(None)
    for _ in range(4):
        silent.update(0.9)
    assert silent.text == ""
