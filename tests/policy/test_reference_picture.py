"""Promise: a bundle carries what its camera saw in training, and what is no picture of its size is refused by name."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mqe_core.cli import main
from mqe_core.images import encode_jpeg, encode_png
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.contract import BundleError
from mqe_core.policy.reference_picture import encoded

SIZE = 32
RAMP = np.stack([np.add.outer(np.arange(SIZE), k * np.arange(SIZE)) % 256 for k in (1, 2, 3)], axis=-1).astype(np.uint8)


def test_it_comes_back_from_a_bundle(make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = make_bundle(reference_picture=json.loads(json.dumps(encoded(RAMP))))
    read = PolicyBundle.open(path).contract
    assert read.reference is not None and read.reference.shape == (SIZE, SIZE, 3)
    assert np.abs(read.reference.astype(int) - RAMP).mean() < 8  # JPEG
    assert main(["inspect", str(path)]) == 0
    assert "what the camera saw in training" in capsys.readouterr().out
    without = PolicyBundle.open(make_bundle()).contract
    assert without.reference is None and "reference_picture" not in without.stated()


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(3, id="a number"),
        pytest.param("%", id="not base64"),
        pytest.param("AAAA", id="no picture"),
        pytest.param("A" * (2 << 20), id="too long"),
        pytest.param(base64.b64encode(encode_jpeg(RAMP[:16], 90)).decode(), id="another size"),
        pytest.param(base64.b64encode(encode_png(np.zeros((4000, 4000, 3), np.uint8))).decode(), id="a bomb"),
    ],
)
def test_what_is_none_is_refused_by_name(make_bundle: Callable[..., Path], wrong: object) -> None:
    with pytest.raises(BundleError, match="reference_picture"):
        make_bundle(reference_picture=wrong)
