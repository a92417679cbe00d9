"""The pairwise MRN distance as compiled code for the CPU, built from mrn_kernel.cpp at its first use.

The library lies in `~/.mqe/kernels` under a name made of its source, compiler and processor; a second process finds it
there. Where it cannot be built (no g++, a refusing compiler) or does not compute what torch does, a line of the log
says so, and `quasimetric.py` does the same in torch.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from mqe_core.files.disk import write_atomically
from mqe_core.user_files import user_folder

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("mrn_kernel.cpp")
LARGEST_HALF = 255  # the coordinate that won is kept in one byte, 0 means none
_COMPILE = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-Wno-psabi", "-fPIC", "-fopenmp", "-c")


class MrnKernel:
    """The compiled functions. Latents are ``(E, B, D)`` float32 on the CPU, contiguous; sums over the components are
    multiplied by ``scale``.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        size, pointer, number = ctypes.c_int64, ctypes.c_void_p, ctypes.c_float
        sizes = [size] * 5 + [number] * 2
        self._lanes = library.mrn_lanes()
        self._forward, self._backward = library.mrn_forward, library.mrn_backward
        self._forward.argtypes = [pointer] * 2 + sizes + [pointer] * 2 + [ctypes.c_int]
        self._backward.argtypes = [pointer] * 4 + sizes + [pointer] * 2 + [ctypes.c_int]
        self._forward.restype = self._backward.restype = None

    def distance(
        self, x: Tensor, y: Tensor, half: int, smoothing: float, scale: float, *, with_winner: bool
    ) -> tuple[Tensor, Tensor | None]:
        """``(E, B, D), (E, C, D) -> (E, B, C)``; ``with_winner`` also the bytes that :meth:`gradient` needs."""
        members, rows, dim = x.shape
        columns, components = y.shape[1], dim // (2 * half)
        distance, winner = x.new_empty(members, rows, columns), None
        if with_winner:
            padded = -(-columns // self._lanes) * self._lanes
            winner = torch.empty(members, components, rows, padded, dtype=torch.uint8)
        sizes = (members, rows, columns, components, half, smoothing, scale)
        saved = None if winner is None else winner.data_ptr()
        self._forward(x.data_ptr(), y.data_ptr(), *sizes, distance.data_ptr(), saved, torch.get_num_threads())
        return distance, winner

    def gradient(
        self, x: Tensor, y: Tensor, grad: Tensor, winner: Tensor, half: int, smoothing: float, scale: float
    ) -> tuple[Tensor, Tensor]:
        """Of x and y, from the gradient ``(E, B, C)`` of the distance."""
        members, rows, dim = x.shape
        grad_x, grad_y = torch.empty_like(x), torch.empty_like(y)
        sizes = (members, rows, y.shape[1], dim // (2 * half), half, smoothing, scale)
        given = (x.data_ptr(), y.data_ptr(), grad.data_ptr(), winner.data_ptr())
        self._backward(*given, *sizes, grad_x.data_ptr(), grad_y.data_ptr(), torch.get_num_threads())
        return grad_x, grad_y


@functools.cache
def load() -> MrnKernel | None:
    """The kernel, built where this machine has not done so yet; None, with a line in the log, where it cannot be."""
    compiler = shutil.which(os.environ.get("CXX") or "g++")
    if compiler is None:
        logger.info("no compiler (g++) for the pairwise distance: torch computes it, several times slower")
        return None
    try:
        return MrnKernel(_library(compiler))
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        logger.warning(
            "%s does not build the pairwise distance, so torch computes it, several times slower: %s",
            compiler,
            said.strip().splitlines()[0] if said.strip() else type(error).__name__,
        )
        return None


def _library(compiler: str) -> ctypes.CDLL:
    """Open the library, and build it before where it is not there. OSError or SubprocessError where that fails."""
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True, timeout=30).stdout
    told = (SOURCE.read_text(encoding="utf-8"), compiler, version, *_COMPILE, _processor(), torch.__version__)
    name = f"mrn-{hashlib.sha256(chr(0).join(told).encode()).hexdigest()[:20]}.so"
    kept = user_folder() / "kernels" / name
    if kept.is_file():
        return ctypes.CDLL(str(kept))
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / name
        compiled = built.with_suffix(".o")
        for command in (
            [compiler, *_COMPILE, str(SOURCE), "-o", str(compiled)],
            # With the OpenMP library that torch has loaded: two of them would fight for the cores.
            [compiler, "-shared", str(compiled), _openmp() or "-fopenmp", "-o", str(built)],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
        try:
            write_atomically(kept, built.read_bytes())
        except OSError as error:
            logger.info("the compiled distance is not kept, and is built at every start: %s", error)
            return ctypes.CDLL(str(built))  # stays open without its file
    return ctypes.CDLL(str(kept))


def _processor() -> str:
    """What the code may be made for: the processor's instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _openmp() -> str | None:
    """The file of GNU's OpenMP library in this process, or None."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.split(maxsplit=5)[5] for line in lines if "libgomp" in line), None)
