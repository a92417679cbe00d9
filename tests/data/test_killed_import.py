"""A killed import goes on where it was, and its store is then that of an undisturbed one to the last bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.made_episodes import made_episode, write_store
from tests.data.restarted import EPISODES, contents, make_tree

# Kills itself (SIGKILL) at its k-th write, flush or rename, in a process of its own for each k, and then goes on.
_KILLED = """
import json, os, shutil, signal, sys, traceback
from pathlib import Path
from mqe_core.data import loading, seen
from mqe_core.data.store import restartable_writer, files as store_files
from mqe_core.data.append import adding_to
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.importer import import_episodes, open_source

source, root, moments, kind = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
restartable_writer.JOURNAL_EVERY_S = 0.0

def run(out, die_at):
    count, loaded = 0, 0
    def counted(function):
        def wrapper(*args, **kwargs):
            nonlocal count
            count += 1
            if count == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return wrapper
    load = loading._load
    def counted_load(*args):
        nonlocal loaded
        loaded += 1
        return load(*args)
    os.fsync, os.rename, os.replace = map(counted, (os.fsync, os.rename, os.replace))
    store_files.GrowingFile.write = counted(store_files.GrowingFile.write)
    loading._load = counted_load
    options = dict(image_size=8, source_name="s", workers=2, trust_units=True)
    if kind == "append":
        with adding_to(out) as addition:
            import_episodes(open_source(source), out, root=source, addition=addition, **options)
    else:
        import_episodes(open_source(source), out, root=source, **options)
    return count, loaded

def in_a_process(out, die_at):
    "(killed, events, episodes loaded)"
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, json.dumps(run(out, die_at)).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return (code != 0, *(json.loads(os.read(reading, 100)) if code == 0 else (0, 0)))

def place(name):
    if kind == "in place":
        (root / name).mkdir()
    if kind == "append":
        shutil.copytree(root / "before", root / name)
    return root / name

def is_finished(store):
    "Opens it: whatever was killed, what opens is whole, and a store that is added to always opens."
    if kind != "append" and not (store / "metadata.json").exists():
        return False
    EpisodeStore.open(store).verify()
    return kind != "append" or EpisodeStore.open(store).metadata["schema"] == 2

_, events, everything = in_a_process(place("undisturbed"), 0)
loads = []
for k in range(moments):
    out, die_at = place(f"killed{k}"), 1 + round(k * (events - 1) / (moments - 1))
    assert in_a_process(out, die_at)[0], "it was to be killed"
    loads.append(None if is_finished(out) else in_a_process(out, 0)[2])
    is_finished(out)
    for name in (entry.name for entry in root.glob(f".killed{k}*")):
        raise AssertionError(f"{name} is left")
print(json.dumps([events, everything, loads]))
"""


def _same_after_kills(tmp_path: Path, make_trajectory, moments: int, kind: str) -> None:
    source = make_tree(tmp_path, make_trajectory)
    if kind == "append":
        write_store(tmp_path / "before", [made_episode(0, size=8)], image_size=8)
    command = [sys.executable, "-c", _KILLED, str(source), str(tmp_path), str(moments), kind]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    events, everything, loads = json.loads(result.stdout)
    assert events > 4 * EPISODES and everything == EPISODES
    undisturbed = contents(tmp_path / "undisturbed")
    assert not {"lock", "journal.jsonl", "numbers.bin", "append.lock"} & {Path(name).name for name in undisturbed}
    for k, loaded in enumerate(loads):
        its = contents(tmp_path / f"killed{k}")
        if loaded is not None:  # else it was killed after the store was in its place
            assert its == undisturbed, f"killed at moment {k} of {moments}"
    first, *_, last = [loaded for loaded in loads if loaded is not None]
    assert first == everything and last < everything / 2, "what was finished is not loaded again"


@pytest.mark.parametrize("kind", ["new", "in place", "append"])
def test_a_killed_import_goes_on_to_the_same_store(tmp_path, make_trajectory, kind):
    _same_after_kills(tmp_path, make_trajectory, 4, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["new", "in place", "append"])
def test_a_killed_import_goes_on_to_the_same_store_at_every_moment(tmp_path, make_trajectory, kind):
    _same_after_kills(tmp_path, make_trajectory, 20, kind)
