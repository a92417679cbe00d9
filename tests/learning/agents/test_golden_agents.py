"""Every agent, whole, computes what its official implementation computes: losses, gradients, actions and values."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # for golden_agents
import golden_agents
from golden_agents import bar, worst_error

from mqe_core.learning.agents import AGENTS
from mqe_core.learning.agents import tra as tra_module

GOLDEN = Path(__file__).parents[2] / "golden" / "agents"
FILES = sorted(GOLDEN.glob("*.npz"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_agent_computes_what_the_official_one_does(path: Path) -> None:
    errors = worst_error(path)
    with np.load(path) as file:
        compared = {key for key in file.files if key.startswith(("loss/", "grad/", "after/")) or key == "action"}
    assert compared <= errors.keys() and {"loss/total", "action"} <= compared
    assert {key: error for key, error in errors.items() if not error <= bar(key)} == {}


def test_every_agent_has_golden_vectors() -> None:
    assert {path.stem.split("_")[0] for path in FILES} == set(AGENTS)


def changed(path: Path, tmp_path: Path, **values: object) -> Path:
    """A copy of the file with other arrays; ``config`` updates the hyperparameters."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    config = json.loads(str(arrays["config"])) | dict(values.pop("config", {}))
    arrays |= {"config": np.array(json.dumps(config)), **values}
    np.savez(tmp_path / path.name, **arrays)
    return tmp_path / path.name


def test_a_halved_loss_is_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The fault that TRA once had."""
    path, right = GOLDEN / "tra_case0.npz", tra_module.alignment_loss
    monkeypatch.setattr(tra_module, "alignment_loss", lambda phi, psi: (right(phi, psi)[0] / 2, right(phi, psi)[1]))
    errors = worst_error(path)
    for key in ("loss/total", "loss/contrastive", "grad/modules_value/phi/Dense_0/kernel"):
        assert errors[key] > 10 * bar(key)
    monkeypatch.setattr(sys, "argv", ["golden_agents.py", str(path)])
    assert golden_agents.main() == 1
    assert "loss/contrastive" in capsys.readouterr().out


def test_what_a_file_states_and_nobody_computes_is_an_error(tmp_path: Path) -> None:
    path = GOLDEN / "gciql_case0.npz"
    with pytest.raises(ValueError, match="loss/other is not computed"):
        worst_error(changed(path, tmp_path, **{"loss/other": np.float32(1.0)}))
    with pytest.raises(ValueError, match="discrete: True is not implemented"):
        worst_error(changed(path, tmp_path, config={"discrete": True}))
    with pytest.raises(ValueError, match="actor_loss must be one of ddpgbc, awr, got 'other'"):
        worst_error(changed(path, tmp_path, config={"actor_loss": "other"}))
    with pytest.raises(ValueError, match="loss/actor_q is not computed"):
        worst_error(changed(path, tmp_path, config={"actor_loss": "awr"}))
    with pytest.raises(ValueError, match="the rewards are not those of the masks"):
        worst_error(changed(path, tmp_path, config={"gc_negative": False}))
    with pytest.raises(ValueError, match="log_std"):  # a parameter that the file lacks
        worst_error(changed(path, tmp_path, config={"const_std": False}))
    with pytest.raises(ValueError, match="hyperparameter new_key"):
        worst_error(changed(path, tmp_path, config={"new_key": 1}))
    with pytest.raises(ValueError, match="no parameter of ours"):
        worst_error(changed(path, tmp_path, **{"params/modules_new/Dense_0/bias": np.zeros(3, np.float32)}))
    with pytest.raises(ValueError, match="no agent 'other'"):
        worst_error(changed(path, tmp_path, config={"agent_name": "other"}))
