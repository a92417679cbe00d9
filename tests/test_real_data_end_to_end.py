"""Real BridgeData through the whole pipe: import, 200 updates, export, and the bundle in the loop on the mock and the
sim.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mqe_core.cli import main

SAMPLE = Path(os.environ.get("MQE_BRIDGE_SAMPLE") or Path(__file__).parents[1] / "../shared/data/bridge_rlds_sample")


@pytest.mark.slow
@pytest.mark.skipif(
    not SAMPLE.is_dir(), reason=f"no BridgeData sample at {SAMPLE}; name its folder in MQE_BRIDGE_SAMPLE"
)
def test_the_sample_becomes_a_policy_that_drives_the_mock_and_the_sim(tmp_path, capsys):
    store, run = tmp_path / "store", tmp_path / "run"
    assert main(["data", "import", str(SAMPLE), "--out", str(store), "--image-size", "64"]) == 0
    capsys.readouterr()
    assert main(["data", "info", str(store), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["episodes"] == 25 and info["frames"] == 250 and info["skipped"] == []

    train = [
        "train",
        "--data",
        str(store),
        "--out",
        str(run),
        "--config",
        "bridge_cpu",
        "--steps",
        "200",
        "--batch-size",
        "32",
    ]
    assert main([*train, "--set", "augment_padding=3"]) == 0
    real, sim = tmp_path / "real.onnx", tmp_path / "sim.onnx"
    assert main(["export", str(run), "--out", str(real)]) == 0
    # The sim refuses a policy of real images; exported for the sim's images it acts (badly) there.
    assert main(["run", "--backend", "sim", "--policy", str(real), "--seconds", "1"]) == 1
    assert main(["export", str(run), "--out", str(sim), "--domain", "sim"]) == 0
    assert main(["run", "--backend", "mock", "--policy", str(real), "--episodes", str(store), "--seconds", "2"]) == 0
    assert main(["run", "--backend", "sim", "--policy", str(sim), "--seed", "1", "--seconds", "2"]) == 0
