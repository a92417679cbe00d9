"""The containers that store_formats.py compares, each with the same four methods: write, append, open, and what open
gives: rows (n,) → their frames.

It needs pyarrow, pylance, zarr and lmdb, which the project does not: an environment of its own, with numpy.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Frames = Sequence[bytes]


class Flat:
    """Files of bytes and int64 offsets, a folder for each append, named in one JSON file that is replaced."""

    name, slow_to_index = "flat files, pread", False

    def write(self, path: Path, chunks: Any) -> None:
        path.mkdir()
        self._part(path / "part-0", chunks)
        (path / "parts.json").write_text(json.dumps(["part-0"]))

    def append(self, path: Path, frames: Frames) -> None:
        parts = json.loads((path / "parts.json").read_text())
        part = f"part-{len(parts)}"
        shutil.rmtree(path / part, ignore_errors=True)
        self._part(path / part, [frames])
        (path / "parts.tmp").write_text(json.dumps([*parts, part]))
        os.replace(path / "parts.tmp", path / "parts.json")

    def _part(self, path: Path, chunks: Any) -> None:
        path.mkdir()
        lengths = [0]
        with open(path / "frames.bin", "wb") as file:
            for frames in chunks:
                file.writelines(frames)
                lengths.extend(map(len, frames))
            os.fsync(file.fileno())
        np.save(path / "offsets.npy", np.cumsum(lengths))

    def open(self, path: Path) -> Callable[[np.ndarray], Frames]:
        parts = [path / name for name in json.loads((path / "parts.json").read_text())]
        offsets = [np.load(part / "offsets.npy", mmap_mode="r").view(np.ndarray) for part in parts]
        ends = np.cumsum([len(one) - 1 for one in offsets])
        read = [self.reader(part / "frames.bin") for part in parts]

        def take(rows: np.ndarray) -> Frames:
            found = []
            for row in rows:
                part = int(np.searchsorted(ends, row, side="right"))
                i = row - ends[part] + len(offsets[part]) - 1
                first, last = int(offsets[part][i]), int(offsets[part][i + 1])
                found.append(read[part](first, last))
            return found

        return take

    def reader(self, file: Path) -> Callable[[int, int], bytes]:
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        return lambda first, last: os.pread(descriptor, last - first, first)


class FlatMemmap(Flat):
    """The same, read as slices of a memmap."""

    name = "flat files, memmap"

    def reader(self, file: Path) -> Callable[[int, int], bytes]:
        memory = np.memmap(file, np.uint8, "r").view(np.ndarray)
        return lambda first, last: memory[first:last].tobytes()


class Parquet:
    """One file for each append, row groups of 128 frames, not compressed."""

    name, slow_to_index = "Parquet", False
    group = 128  # the chunks that are written are whole numbers of it

    def write(self, path: Path, chunks: Any) -> None:
        path.mkdir()
        self._file(path / "00000.parquet", chunks)

    def append(self, path: Path, frames: Frames) -> None:
        number = len(list(path.glob("*.parquet")))
        self._file(path / "new", [frames])
        os.replace(path / "new", path / f"{number:05d}.parquet")

    def _file(self, path: Path, chunks: Any) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([("frame", pa.binary())])
        with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
            for frames in chunks:
                writer.write_table(pa.table({"frame": frames}, schema), row_group_size=self.group)

    def open(self, path: Path) -> Callable[[np.ndarray], Frames]:
        import pyarrow.parquet as pq

        files = [pq.ParquetFile(file) for file in sorted(path.glob("*.parquet"))]
        ends = np.cumsum([file.metadata.num_rows for file in files])

        def take(rows: np.ndarray) -> Frames:
            found = []
            for row in rows:
                number = int(np.searchsorted(ends, row, side="right"))
                row = int(row - ends[number] + files[number].metadata.num_rows)
                found.append(files[number].read_row_group(row // self.group)["frame"][row % self.group].as_py())
            return found

        return take


class Arrow(Parquet):
    """Arrow's own file, mapped into memory: its batches are read where they lie."""

    name = "Arrow IPC, memmap"
    group = 1024

    def _file(self, path: Path, chunks: Any) -> None:
        import pyarrow as pa

        schema = pa.schema([("frame", pa.large_binary())])
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
            for frames in chunks:
                for first in range(0, len(frames), self.group):
                    writer.write_batch(pa.record_batch({"frame": frames[first : first + self.group]}, schema))

    def open(self, path: Path) -> Callable[[np.ndarray], Frames]:
        import pyarrow as pa

        files = [pa.ipc.open_file(pa.memory_map(str(file))) for file in sorted(path.glob("*.parquet"))]
        column = pa.chunked_array([column for file in files for column in file.read_all()["frame"].chunks])
        return lambda rows: [column[int(row)].as_py() for row in rows]


class Lance:
    """Its versions make appends atomic."""

    name, slow_to_index = "Lance", False

    def write(self, path: Path, chunks: Any) -> None:
        self._write(path, chunks, "create")

    def append(self, path: Path, frames: Frames) -> None:
        self._write(path, [frames], "append")

    def _write(self, path: Path, chunks: Any, mode: str) -> None:
        import lance
        import pyarrow as pa

        schema = pa.schema([("frame", pa.large_binary())])
        batches = (pa.record_batch({"frame": frames}, schema) for frames in chunks)
        lance.write_dataset(pa.RecordBatchReader.from_batches(schema, batches), str(path), mode=mode)

    def open(self, path: Path) -> Callable[[np.ndarray], Frames]:
        import lance

        dataset = lance.dataset(str(path))
        return lambda rows: dataset.take(rows.tolist(), columns=["frame"])["frame"].to_pylist()


class Zarr:
    """An array of byte strings: a chunk for each frame, shards of 4,096."""

    name, slow_to_index = "zarr 3", True
    shard = 4096

    def write(self, path: Path, chunks: Any) -> None:
        import zarr

        array = zarr.create_array(
            str(path), shape=(0,), chunks=(1,), shards=(self.shard,), dtype=zarr.dtype.VariableLengthBytes()
        )
        for frames in chunks:
            self._add(array, frames)

    def append(self, path: Path, frames: Frames) -> None:
        import zarr

        self._add(zarr.open_array(str(path), mode="r+"), frames)

    def _add(self, array: Any, frames: Frames) -> None:
        first = array.shape[0]
        array.resize((first + len(frames),))
        array[first:] = np.array(frames, dtype=object)

    def open(self, path: Path) -> Callable[[np.ndarray], Frames]:
        import zarr

        array = zarr.open_array(str(path), mode="r")
        return lambda rows: list(array.oindex[np.sort(rows)][np.argsort(np.argsort(rows))])


class Lmdb:
    """A B-tree in one file that is mapped into memory."""

    name, slow_to_index = "LMDB", False

    def write(self, path: Path, chunks: Any) -> None:
        path.mkdir()
        for frames in chunks:
            self.append(path, frames)

    def append(self, path: Path, frames: Frames) -> None:
        import lmdb

        with lmdb.open(str(path), map_size=1 << 40) as database, database.begin(write=True) as transaction:
            first = transaction.stat()["entries"]
            for number, frame in enumerate(frames, first):
                transaction.put(number.to_bytes(8, "big"), frame, append=True)

    def open(self, path: Path) -> Callable[[np.ndarray], Frames]:
        import lmdb

        database = lmdb.open(str(path), readonly=True, lock=False, readahead=False)

        def take(rows: np.ndarray) -> Frames:
            with database.begin() as transaction:
                return [bytes(transaction.get(int(row).to_bytes(8, "big"))) for row in rows]

        return take


FORMATS: dict[str, Any] = {kind.__name__: kind() for kind in (FlatMemmap, Flat, Parquet, Arrow, Lance, Zarr, Lmdb)}
