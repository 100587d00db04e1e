"""Where the state of a large set lies: in memory up to a budget, beyond it in files that are gone afterwards."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from datagen.files import storing

MEGABYTE = 1 << 20

Step = TypeVar("Step")


class Workspace:
    """Arrays and texts in memory while they fit into half of `budget` bytes; what comes later is mapped from files.

    The other half is for what of those is in memory at a time, where the work goes by `relieving` (Linux).
    The files lie in a folder of their own under `folder` (default: the system's for temporary files) and go when the
    context ends. StorageError if the disk cannot hold them: space is reserved before it is used.
    """

    def __init__(self, budget: int, folder: Path | None = None) -> None:
        self._budget, self._most, self._parent = budget // 2, budget // 2, folder
        self._folder: Path | None = None
        self._maps: list[mmap.mmap] = []
        self._files = 0
        self.spilled = 0
        """Bytes in files so far."""

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._maps.clear()  # each lives on for as long as something lies in it
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def holds(self, size: int) -> bool:
        """Whether so many bytes more would stay in memory."""
        return size <= self._budget

    def array(self, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        """An array to fill."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size == 0 or self._fits(size):
            return np.empty(shape, dtype)
        path = self._path()
        with storing(path), path.open("w+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        return np.frombuffer(self._mapped(path, size), dtype, int(np.prod(shape))).reshape(shape)

    def texts(self, series: pl.Series) -> pl.Series:
        """The same texts, in memory or in a file."""
        size = int(series.estimated_size())
        if self._fits(size):
            return series
        path = self._path()
        with storing(path), path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
            table = pa.table({"text": series.to_arrow().cast(pa.large_string())})
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
        content = pa.py_buffer(self._mapped(path, size))
        return pl.Series("text", pl.from_arrow(pa.ipc.open_file(content).read_all()["text"]))

    def relieving(self, steps: Iterable[Step]) -> Iterator[Step]:
        """The same steps; before each, mapped pages go back to the files if more than the budget of them is held."""
        for step in steps:
            if self._maps and _held() > self._most:
                for each in self._maps:
                    each.madvise(mmap.MADV_DONTNEED)
            yield step

    def _mapped(self, path: Path, size: int) -> mmap.mmap:
        with storing(path), path.open("r+b") as file:
            self._maps.append(mmap.mmap(file.fileno(), 0))
        self.spilled += size
        return self._maps[-1]

    def _fits(self, size: int) -> bool:
        fits = size <= self._budget
        self._budget -= size if fits else 0
        return fits

    def _path(self) -> Path:
        if self._folder is None:
            where = self._parent or Path(tempfile.gettempdir())
            with storing(where):
                self._folder = Path(tempfile.mkdtemp(prefix="datagen-dedup-", dir=self._parent))
        self._files += 1
        return self._folder / f"{self._files}.bin"


def _held() -> int:
    """Bytes of files that this process has mapped and that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[2]) * mmap.PAGESIZE
