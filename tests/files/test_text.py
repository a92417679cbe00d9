"""Promise: a text file that cannot be understood is named, in one line, whichever of ours it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mqe_core.cli import main
from mqe_core.closed_loop.results import read_scores
from mqe_core.data.readers.bridge_raw import _read_languages
from mqe_core.files.text import parse_yaml, read_json, read_json_mapping, read_yaml, read_yaml_mapping
from mqe_core.images import encode_png
from mqe_core.policy.goals import read_goal
from mqe_core.robot.spec import load_robot_spec

BROKEN = {
    "empty": b"",
    "blank": b" \n\n",
    "cut off": b'{"schema": 1, "agent": ["mqe',
    "another type": b"[1, 2]",
    "a number": b"7",
    "Latin-1": '{"task": "Käse"}'.encode("latin-1"),
    "binary": bytes(range(256)),
    "zeros": bytes(64),
    "deep": b"[" * 100_000,
}


def _goal(file: Path) -> object:
    import numpy as np

    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file.with_suffix(".png").write_bytes(encode_png(picture))
    return read_goal(file.with_suffix(".png"))


def _user(file: Path) -> object:
    from mqe_core.user_files import configured_policy

    os.environ["MQE_HOME"] = str(file.parent)
    return configured_policy()


def _run_metadata(file: Path) -> object:
    pytest.importorskip("torch")
    from mqe_core.learning.run.run_folder import read_metadata

    return read_metadata(file.parent)


def _run_config(file: Path) -> object:
    pytest.importorskip("torch")
    from mqe_core.learning.run.run_folder import read_config

    return read_config(file.parent)


def _store(file: Path) -> object:
    from mqe_core.data.store.episode_store import EpisodeStore

    return EpisodeStore.open(file.parent)


def _collection(file: Path) -> object:
    from mqe_sim.bridge_tree import claim

    return claim(file.parents[4], "place1", {})


READERS: dict[str, tuple[str, Callable[[Path], object], set[str]]] = {
    # file, reader, and what of the above is right
    "JSON": ("a.json", read_json_mapping, set()),
    "YAML": ("a.yaml", read_yaml_mapping, {"empty", "blank"}),
    "result": ("result.json", lambda file: read_scores(file), set()),
    "goal": ("goal.yaml", _goal, set()),
    "robot": ("robot.yaml", load_robot_spec, set()),
    "settings": ("config.yaml", _user, {"empty", "blank"}),
    "run's metadata": ("metadata.json", _run_metadata, set()),
    "run's configuration": ("config.yaml", _run_config, set()),
    "store's metadata": ("metadata.json", _store, set()),
    "collection's settings": ("bridge_data_v2/sim_kitchen/place1/00/collection.json", _collection, set()),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_is_not_understood_is_named_in_one_line(
    reader: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQE_HOME", "")
    name, read, right = READERS[reader]
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(BROKEN[kind])
    if kind in right:
        read(file)
        return
    with pytest.raises(ValueError) as error:
        read(file)
    said = str(error.value)
    assert Path(name).name in said and str(tmp_path) in said and "\n" not in said, said


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(file) == {"a": 1} == read_yaml(file)


@pytest.mark.parametrize("text", ["[1", "{a: b", "a: b: c", "'open", "&x *y", "!!python/object:os.system x", "\x00"])
def test_a_value_that_is_no_yaml_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="^--set alpha: not valid YAML: ") as error:
        parse_yaml(text, "--set alpha")
    assert "\n" not in str(error.value)


def test_an_override_that_is_no_yaml_is_refused_in_one_line(capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("torch")
    assert main(["train", "--show-config", "--set", "alpha=[1"]) == 1
    assert capsys.readouterr().err.startswith("mqe train: --set alpha=[1: not valid YAML: ")
    for value in ("[]", "{}", "1", "null"):
        assert main(["train", "--show-config", "--set", f"agent={value}"]) == 1
        assert capsys.readouterr().err.startswith("mqe train: agent must be one of mqe, ")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_annotations_are_read_in_any_encoding(encoding: str, end: str, tmp_path: Path) -> None:
    file = tmp_path / "lang.txt"
    file.write_bytes(end.join(["put the purée on the plate", "", "confidence: 1", "move the cup", ""]).encode(encoding))
    assert _read_languages(file) == ("put the purée on the plate", "move the cup")


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "b: {a: 1, 'a': 1}\n", "- {a: 1, a: 2}\n"])
def test_a_key_that_comes_twice_is_no_yaml(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"a\.yaml: not valid YAML: the key 'a' comes twice \(line "):
        read_yaml(tmp_path / "a.yaml")
