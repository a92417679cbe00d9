"""Unpickling loads arrays and plain containers, and never runs what a file names."""

from __future__ import annotations

import collections
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

from mqe_core import safe_pickle

PLAIN = {
    "full_state": np.arange(14.0).reshape(2, 7),
    "flags": np.array([True, False]),
    "scalar": np.float64(0.5),
    "objects": np.array([None, "x"], dtype=object),
    "list": [1, 2.5, "text", b"bytes", None, True, 1 + 2j, 2**70],
    "nested": ({"a": (1, [2])}, {3, 4}, frozenset([5])),
    "ordered": collections.OrderedDict(b=1, a=2),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
}


def _assert_equal(loaded, expected):
    assert type(loaded) is type(expected)
    if isinstance(expected, dict):
        assert list(loaded) == list(expected)
        for key in expected:
            _assert_equal(loaded[key], expected[key])
    elif isinstance(expected, np.ndarray):
        assert loaded.dtype == expected.dtype and np.array_equal(loaded, expected)
    else:
        assert loaded == expected


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_containers_load(protocol):
    _assert_equal(safe_pickle.loads(pickle.dumps(PLAIN, protocol=protocol)), PLAIN)


def test_both_spellings_of_numpys_core_load():
    # Protocol 2 writes names as plain text: c<module>\n<name>\n
    written = pickle.dumps({"a": np.arange(3.0), "b": np.float64(2)}, protocol=2)
    assert b"cnumpy._core.multiarray\n" in written
    older = written.replace(b"numpy._core.", b"numpy.core.")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for contents in (written, older):
            loaded = safe_pickle.loads(contents)
            assert np.array_equal(loaded["a"], np.arange(3.0)) and loaded["b"] == 2


class _Attack:
    """Pickles into a call of `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_does_not_execute(tmp_path, protocol):
    marker = tmp_path / "executed"
    attacks = [
        _Attack(os.system, f"touch {marker}"),
        _Attack(subprocess.call, ["touch", str(marker)]),
        _Attack(eval, f"open({str(marker)!r}, 'w')"),
        _Attack(open, str(marker), "w"),
        _Attack(np.save, str(marker), 1),
        {"full_state": np.zeros((2, 7)), "hidden": [_Attack(os.mkdir, str(marker))]},
    ]
    for attack in attacks:
        contents = pickle.dumps(attack, protocol=protocol)
        with pytest.raises(ValueError, match="only arrays and plain containers"):
            safe_pickle.loads(contents)
        assert not any(tmp_path.iterdir())
    pickle.loads(pickle.dumps(attacks[3], protocol=protocol)).close()  # the attack is real: plain pickle runs it
    assert marker.exists()


@pytest.mark.parametrize(
    "reference",
    ["builtins\ngetattr", "builtins\n__import__", "numpy\nload", "functools\npartial", "pickle\nloads"],
)
def test_names_outside_the_list_are_refused(reference):
    with pytest.raises(ValueError, match=reference.replace("\n", ".")):
        safe_pickle.loads(b"c" + reference.encode() + b"\n.")


def test_dotted_names_cannot_climb_out_of_an_allowed_module():
    # Protocol 4 lets a name hold dots: numpy's `ndarray.__class__` would be a way round the list.
    for module, name in (
        ("numpy", "ndarray.__class__"),
        ("collections", "OrderedDict.__init__.__globals__"),
        ("builtins", "dict.get"),
    ):
        contents = (
            b"\x80\x04\x8c"
            + bytes([len(module)])
            + module.encode()
            + b"\x8c"
            + bytes([len(name)])
            + name.encode()
            + b"\x93."
        )
        with pytest.raises(ValueError, match="only arrays and plain containers"):
            safe_pickle.loads(contents)


def test_a_module_that_is_only_named_is_not_imported():
    name = "antigravity"
    assert name not in sys.modules
    with pytest.raises(ValueError):
        safe_pickle.loads(f"c{name}\nfly\n.".encode())
    assert name not in sys.modules


def test_damaged_pickles_raise_value_error_only():
    contents = pickle.dumps(PLAIN, protocol=4)
    for length in range(0, len(contents), 7):
        with pytest.raises(ValueError, match="not loaded"):
            safe_pickle.loads(contents[:length])
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(contents)
        damaged[rng.integers(len(damaged))] ^= int(rng.integers(1, 256))
        try:
            safe_pickle.loads(bytes(damaged))
        except ValueError:
            refused += 1
    assert refused > 0


def test_load_names_the_file(tmp_path):
    (tmp_path / "obs_dict.pkl").write_bytes(b"")
    with pytest.raises(ValueError, match="obs_dict.pkl"):
        safe_pickle.load(tmp_path / "obs_dict.pkl")
