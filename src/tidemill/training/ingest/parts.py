"""Parquet parts, written behind the reading in bounded memory. The same rows give the same bytes."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidemill.kit.errors import Unavailable

_GROUP_ROWS = 2**17
_PART_BYTES = 256 * 2**20
_DICTIONARY_SHARE = 0.2
_COMPRESSION_LEVEL = 1
_PAGE_ROWS = 1024
_PAGE_BYTES = 2**20


class PartWriter:
    """Use as a context; `paths` are whole after it ends without an error."""

    def __init__(self, directory: Path, schema: Any, group_bytes: int) -> None:
        self.paths: list[Path] = []
        self.row_count = 0
        self._directory = directory
        self._schema = schema
        self._group_bytes = group_bytes
        self._waiting: list[Any] = []
        self._waiting_rows = 0
        self._waiting_bytes = 0
        self._writer: pq.ParquetWriter | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="parquet")
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None:
                self._flush()
                self._wait()
        finally:
            self._executor.shutdown(wait=True)
            self._close_part()

    def write(self, table: Any) -> None:
        """Take rows; raises what went wrong with those before."""
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        self._waiting_bytes += table.nbytes
        self.row_count += table.num_rows
        if self._waiting_rows >= _GROUP_ROWS or self._waiting_bytes >= self._group_bytes:
            self._flush()

    def discard(self) -> None:
        """Remove what was written: these parts are not wanted any more."""
        for path in self.paths:
            path.unlink(missing_ok=True)
        self.paths = []

    def _flush(self) -> None:
        if not self._waiting and self.paths:
            return
        group = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0
        self._wait()
        self._last = self._executor.submit(self._write_group, group)

    def _wait(self) -> None:
        """One group is written while the next is gathered, no more."""
        if self._last is not None:
            self._last.result()

    def _write_group(self, group: Any) -> None:
        try:
            if self._writer is None:
                self._writer = self._open_part(group)
            self._writer.write_table(group, row_group_size=max(1, group.num_rows))
            if self.paths[-1].stat().st_size >= _PART_BYTES:
                self._close_part()
        except OSError as error:
            if error.errno == 28:
                raise Unavailable("disk_full", "The worker's disk is full.") from error
            raise

    def _open_part(self, first_group: Any) -> pq.ParquetWriter:
        path = self._directory / f"part-{len(self.paths):05d}.parquet"
        self.paths.append(path)
        return pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            use_dictionary=_repeating(first_group),
            write_batch_size=_page_rows(first_group),
        )

    def _close_part(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _page_rows(group: Any) -> int:
    """Rows after which the writer looks whether a page is full; one of long texts would else grow to hundreds of MB."""
    row_bytes = group.nbytes // max(1, group.num_rows)
    return int(max(1, min(_PAGE_ROWS, _PAGE_BYTES // max(1, row_bytes))))


def _repeating(group: Any) -> list[str]:
    """Columns in which a dictionary pays; for the others, building one takes half of the writing time."""
    limit = _DICTIONARY_SHARE * max(1, group.num_rows)
    return [name for name in group.column_names if pc.count_distinct(group.column(name)).as_py() <= limit]
