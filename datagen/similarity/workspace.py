"""Where the state of a large set lies: in memory up to a budget, beyond it in files that are gone afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from datagen.files import storing

MEGABYTE = 1 << 20


class Workspace:
    """Arrays and texts in memory while they fit into `budget` bytes together; what comes later is mapped from files.

    The files lie in a folder of their own under `folder` (default: the system's for temporary files) and go when the
    context ends. StorageError if the disk cannot hold them: space is reserved before it is used.
    """

    def __init__(self, budget: int, folder: Path | None = None) -> None:
        self._budget, self._parent = budget, folder
        self._folder: Path | None = None
        self._files = 0
        self.spilled = 0
        """Bytes in files so far."""

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def array(self, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        """An array to fill."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size == 0 or self._fits(size):
            return np.empty(shape, dtype)
        path = self._path()
        with storing(path), path.open("w+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        self.spilled += size
        return np.memmap(path, dtype, "r+", shape=shape)

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
        self.spilled += size
        return pl.Series("text", pl.from_arrow(pa.ipc.open_file(pa.memory_map(str(path))).read_all()["text"]))

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
