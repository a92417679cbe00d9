"""An import that was ended goes on where it was; what it made by other settings, or what is damaged, it makes anew."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from mqe_core.data import loading, seen
from mqe_core.data.episode_rules import EpisodeRules
from mqe_core.data.store import files as store_files
from mqe_core.data.store import import_journal, restartable_writer
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.files.disk import WriteError
from mqe_core.files.lock import FileLock
from tests.data.restarted import EPISODES, contents, import_tree, make_tree
from tests.data.test_odd_disks import FullDisk


@pytest.fixture
def stopped(tmp_path, make_trajectory, monkeypatch):
    """A source, and a folder whose import was interrupted after 5 of its 8 results."""
    monkeypatch.setattr(restartable_writer, "JOURNAL_EVERY_S", 0.0)
    source, out = make_tree(tmp_path, make_trajectory), tmp_path / "store"
    note, count = restartable_writer.ImportJournal.note, []

    def fifth_interrupts(self, *args):
        note(self, *args)
        count.append(1)
        if len(count) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(restartable_writer.ImportJournal, "note", fifth_interrupts)
        with pytest.raises(KeyboardInterrupt):
            import_tree(source, out)
    return source, out


def _loads(monkeypatch) -> list[str]:
    load, names = loading._load, []

    def counted(task, *args):
        names.append(task.name)
        return load(task, *args)

    monkeypatch.setattr(loading, "_load", counted)
    return names


def test_ctrl_c_keeps_what_is_finished_and_other_threads_end_at_the_same_store(stopped, tmp_path, monkeypatch, caplog):
    source, out = stopped
    said = [record.getMessage() for record in caplog.get_records("setup")]
    assert not out.exists() and "5 finished episodes and skipped ones are kept" in said[-1]
    loads = _loads(monkeypatch)
    store = import_tree(source, out, workers=3)
    assert sorted(loads) == sorted(f"2023-01-01_00-00-00/raw/traj_group0/traj{k}" for k in (5, 6, 7))
    store.verify()
    import_tree(source, tmp_path / "undisturbed")
    assert contents(out) == contents(tmp_path / "undisturbed")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["src", "store", "undisturbed"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"image_size": 12}, "its image_size was another"),
        ({"rules": EpisodeRules(drop_first=1)}, "its rules was another"),
        ({"cameras": ["images0"]}, "its cameras was another"),
        ("a file", "its files was another"),
    ],
)
def test_what_was_made_by_other_settings_is_named_and_not_gone_on_with(stopped, monkeypatch, caplog, changed, said):
    source, out = stopped
    if changed == "a file":
        file = next(source.rglob("traj0/obs_dict.pkl"))
        os.utime(file, ns=(0, 0))
        changed = {}
    loads = _loads(monkeypatch)
    import_tree(source, out, **changed).verify()
    assert len(loads) == EPISODES and said in caplog.text


def test_damaged_parts_are_done_again(stopped, tmp_path, monkeypatch, caplog):
    source, out = stopped
    folder = tmp_path / ".store.partial-0"
    frames = folder / "camera_0.bin"
    written = bytearray(frames.read_bytes())
    written[-3] ^= 1  # of episode 4
    frames.write_bytes(written + b"written after the last line")
    (folder / "episode_ends.npy").write_bytes(b"from a run that was killed at its end")
    loads = _loads(monkeypatch)
    import_tree(source, out)
    assert len(loads) == 4 and "what was written last is damaged" in caplog.text
    monkeypatch.undo()
    import_tree(source, tmp_path / "undisturbed")
    assert contents(out) == contents(tmp_path / "undisturbed")


@pytest.mark.parametrize("lost", ["numbers.bin", "camera_0.bin", "journal.jsonl", "half a line", "not a journal"])
def test_a_lost_or_torn_file_costs_no_more_than_it_held(stopped, tmp_path, monkeypatch, lost):
    source, out = stopped
    journal = tmp_path / ".store.partial-0/journal.jsonl"
    if lost == "half a line":
        journal.write_bytes(journal.read_bytes()[:-10])
    elif lost == "not a journal":
        journal.write_bytes(b"\0" * 1000)
    else:
        journal.with_name(lost).unlink()
    loads = _loads(monkeypatch)
    import_tree(source, out).verify()
    assert len(loads) == (4 if lost == "half a line" else EPISODES)


@pytest.mark.parametrize("room", [3000, 8000, 12000])
def test_a_full_disk_keeps_what_is_finished(tmp_path, make_trajectory, monkeypatch, room):
    source, out = make_tree(tmp_path, make_trajectory), tmp_path / "store"
    monkeypatch.setattr(restartable_writer, "JOURNAL_EVERY_S", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(store_files, "open", FullDisk(room), raising=False)
        with pytest.raises(WriteError, match="store cannot be written: No space left on device; free some space"):
            import_tree(source, out)
    assert not out.exists()
    loads = _loads(monkeypatch)
    import_tree(source, out).verify()
    assert len(loads) < EPISODES
    monkeypatch.undo()
    import_tree(source, tmp_path / "undisturbed")
    assert contents(out) == contents(tmp_path / "undisturbed")


def test_a_limit_of_the_system_on_a_file_ends_it_by_name_and_the_command_goes_on(tmp_path, make_trajectory):
    """A real refusal of the kernel (RLIMIT_FSIZE), by the command line."""
    source, out = make_tree(tmp_path, make_trajectory), tmp_path / "store"
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY)); "
    code = "import sys; from mqe_core.data.store import restartable_writer as w; w.JOURNAL_EVERY_S = 0.0; "
    code += "from mqe_core.cli import main; sys.exit(main())"
    command = ["data", "import", str(source), "--out", str(out), "--image-size", "128", "--trust-units"]
    full = subprocess.run([sys.executable, "-c", limit + code, *command], capture_output=True, text=True, timeout=120)
    assert full.returncode != 0 and "store cannot be written: File too large" in full.stderr, full.stderr
    assert "Traceback" not in full.stderr and "the same command goes on" in full.stderr
    again = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    EpisodeStore.open(out).verify()


def test_a_second_import_into_one_folder_hears_who_is_there(tmp_path, make_trajectory):
    source, out = make_tree(tmp_path, make_trajectory), tmp_path / "store"
    folder = tmp_path / ".store.partial-0"
    folder.mkdir()
    held = FileLock(folder / "lock", out)
    with pytest.raises(ValueError, match=rf"store is being made by process {os.getpid()} on .*, since .*; wait for it"):
        import_tree(source, out)
    (folder / "lock").write_bytes(b"")  # before its holder has written its name
    with pytest.raises(ValueError, match="store is being made by another process"):
        import_tree(source, out)
    held.release()
    import_tree(source, out).verify()


def test_a_file_system_without_locks_refuses_nobody(tmp_path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    for _ in range(2):
        FileLock(tmp_path / "lock", tmp_path)


def test_leftovers_of_earlier_versions_are_removed_once_they_rest(tmp_path, make_trajectory, caplog):
    source, out = make_tree(tmp_path, make_trajectory), tmp_path / "store"
    resting, running = tmp_path / ".store.partial-00aa11bb", tmp_path / ".store.partial-22cc33dd"
    for folder in (resting, running):
        folder.mkdir()
        (folder / "camera_0.bin").write_bytes(b"half")
    for path in (resting / "camera_0.bin", resting):
        os.utime(path, (0, 0))
    import_tree(source, out)
    assert not resting.exists() and running.exists()
    assert ".store.partial-00aa11bb: removed, an unfinished import" in caplog.text
    assert ".store.partial-22cc33dd: unfinished import; delete it unless" in caplog.text


def test_an_import_without_episodes_or_of_an_odd_size_leaves_nothing(tmp_path, make_trajectory):
    source = make_tree(tmp_path, make_trajectory, 3)
    for file in source.rglob("obs_dict.pkl"):
        file.unlink()
    for size in (8, 0):
        with pytest.raises(ValueError):
            import_tree(source, tmp_path / "store", image_size=size)
    assert [entry.name for entry in tmp_path.iterdir()] == ["src"]


def test_units_that_are_refused_lose_no_work(stopped, monkeypatch):
    source, out = stopped
    monkeypatch.setattr(seen, "why_implausible", lambda *_: ["millimetres"])
    with pytest.raises(ValueError, match="--trust-units imports them as they are"):
        import_tree(source, out, trust_units=False)
    loads = _loads(monkeypatch)
    store = import_tree(source, out)
    assert loads == [] and store.metadata["conversion"]["trusted"] and np.isfinite(store.states).all()


def test_a_journal_that_says_nothing_of_the_rate_is_gone_on_with(stopped, tmp_path):
    """As one of an earlier state of this version."""
    source, out = stopped
    file = tmp_path / ".store.partial-0/journal.jsonl"
    records = [import_journal._record_of(line) for line in file.read_bytes().splitlines(keepends=True)]
    for record in records[1:]:
        for entry in record["results"]:
            (entry or {}).pop("period_s", None)
    file.write_bytes(b"".join(map(import_journal._line, records)))
    import_tree(source, out)
    import_tree(source, tmp_path / "undisturbed")
    assert contents(out) == contents(tmp_path / "undisturbed")
