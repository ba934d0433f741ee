"""Parquet and Arrow IPC (Feather). Rows are numbered from 1."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from tidemill.kit.errors import Invalid, TooLarge
from tidemill.kit.limits import MAX_DATASET_ROWS
from tidemill.kit.parquet_pages import TAIL_BYTES, check_footer, check_schema
from tidemill.kit.thrift_compact import Damaged
from tidemill.reading.damage import decoding
from tidemill.reading.dialect import checked_names
from tidemill.reading.text import most_unpacked_bytes
from tidemill.schemas.datasets import MAX_COLUMNS
from tidemill.training.ingest.arrow_sizes import batch_sizes
from tidemill.training.ingest.model import Batch, Limits
from tidemill.training.ingest.parquet_groups import RowGroup, texts_of
from tidemill.training.ingest.row_lengths import MOST_TEXTS_BYTES, slices, texts_grown
from tidemill.training.ingest.storable import check_structure, first_not_utf8, first_with_nul, refuse_text
from tidemill.training.ingest.typed_column import our_type, plain_text

_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
_MOST_ROWS = 2**15
_LONGEST_SHARE = 8
"""Of the free memory, what a batch may take if every row of it is as long as any can be."""
_FOOTER_GROWTH = 16
_BATCH_SHARE = 0.6
_ASSUMED_CELL_BYTES = 16


@contextmanager
def _readable(kind: str) -> Iterator[None]:
    """As `decoding`, for what our own look at pages and batches finds too."""
    try:
        with decoding(kind):
            yield
    except OverflowError:
        raise TooLarge("file_too_complex", f"The {kind} file has too large a footer.") from None
    except Damaged:
        raise Invalid("file_damaged", f"The {kind} file is damaged or cut short.") from None


class _TypedSource:
    typed = True
    format = ""
    warnings: Sequence[str] = ()

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path = path
        self._limits = limits
        with _readable(self.format):
            schema = self._schema()
            names = schema.names
            _look_at_zones(schema)
        if len(schema) > MAX_COLUMNS:
            raise TooLarge("too_many_columns", f"The file has {len(schema)} columns; at most {MAX_COLUMNS} are read.")
        if not len(schema):
            raise Invalid("no_columns", "The file has no columns.")
        self.names = checked_names(names)

    def describe(self) -> dict[str, Any]:
        return {"format": self.format}

    def row_numbers(self, indices: Sequence[int]) -> dict[int, int]:
        return {index: index + 1 for index in indices}

    def batches(self) -> Generator[Batch, None, None]:
        index, limits, texts_bytes = 0, self._limits, 0
        most_bytes = most_unpacked_bytes(self._path.stat().st_size, MOST_TEXTS_BYTES)
        with _readable(self.format):
            for whole, share in self._record_batches():
                for batch in slices(whole, index, 2 * limits.block_bytes, limits.longest_row_bytes):
                    arrays = [self._plain(*item, index) for item in zip(self.names, batch.columns, strict=True)]
                    texts_bytes += sum(array.nbytes for array in arrays if pa.types.is_string(array.type))
                    if texts_bytes > most_bytes:
                        raise texts_grown(most_bytes)
                    if batch.num_rows:
                        yield Batch(pa.Table.from_arrays(arrays, names=list(self.names)), index, read_share=share)
                    index += batch.num_rows

    def _plain(self, name: str, column: Any, first_index: int) -> Any:
        if our_type(column.type) is None:
            return column
        values = column.dictionary if pa.types.is_dictionary(column.type) else column
        if our_type(values.type) != "string" or pa.types.is_null(values.type) or pa.types.is_time(values.type):
            return plain_text(column)
        wrong = first_not_utf8(column)
        plain = plain_text(column) if wrong is None else column
        if wrong is None:
            wrong = first_with_nul(plain)
        return plain if wrong is None else refuse_text(first_index + wrong + 1, name)

    def _rows_at_once(self, seen_row_bytes: int) -> int:
        row_bytes = max(len(self.names) * _ASSUMED_CELL_BYTES, seen_row_bytes)
        return max(1, min(_MOST_ROWS, 2 * self._limits.block_bytes // row_bytes))

    def _schema(self) -> Any:
        raise NotImplementedError

    def _record_batches(self) -> Iterator[tuple[Any, float | None]]:
        raise NotImplementedError


def _look_at_zones(schema: Any) -> None:
    """The library decodes the names of columns and zones when they are asked for; those that are no text fail here."""
    for kind in schema.types:
        zone_of = kind.value_type if pa.types.is_dictionary(kind) else kind
        _ = zone_of.tz if pa.types.is_timestamp(zone_of) else None


class ParquetSource(_TypedSource):
    format = "parquet"

    def _schema(self) -> Any:
        with self._path.open("rb") as stream:
            size_bytes = stream.seek(0, 2)
            stream.seek(max(0, size_bytes - TAIL_BYTES))
            footer_bytes = check_footer(stream.read(), self._limits.free_bytes // _FOOTER_GROWTH)
            stream.seek(max(0, size_bytes - footer_bytes))
            check_schema(stream.read(footer_bytes - TAIL_BYTES))
        schema = pq.read_schema(self._path)
        _check_rows(pq.read_metadata(self._path).num_rows)
        return schema

    def _record_batches(self) -> Iterator[tuple[Any, float | None]]:
        """Group by group, the pages of each looked at before one is unpacked."""
        limits = self._limits
        with self._path.open("rb") as stream, self._open() as file, self._open(read_dictionary=texts_of(file)) as coded:
            total, done = max(1, file.metadata.num_rows), 0
            for number in range(file.metadata.num_row_groups):
                group = RowGroup(stream, coded, number)
                group.check_pages(limits.free_bytes)
                longest = max(1, limits.free_bytes // _LONGEST_SHARE // max(1, group.longest_row_bytes()))
                rows = min(longest, self._rows_at_once(group.dense_row_bytes()))
                for batch in file.iter_batches(batch_size=rows, row_groups=[number], use_threads=False):
                    done += batch.num_rows
                    yield batch, done / total

    def _open(self, **options: Any) -> Any:
        return pq.ParquetFile(self._path, buffer_size=2**16, pre_buffer=False, **options)


def _check_rows(row_count: int) -> None:
    if row_count > MAX_DATASET_ROWS:
        raise TooLarge("too_many_rows", f"The file says that it has more than {MAX_DATASET_ROWS} rows.")


class ArrowSource(_TypedSource):
    """Both forms of Arrow IPC: the file (Feather) and the stream."""

    format = "arrow"

    def _schema(self) -> Any:
        with pa.OSFile(str(self._path)) as file:
            reader = self._open(file)
            if not hasattr(reader, "num_record_batches") and not self._ends_as_streams_do():
                raise Invalid("file_damaged", "The arrow stream is cut short: the mark at its end is missing.")
            self._check_batches()
            return reader.schema

    def _check_batches(self) -> None:
        """Raises TooLarge for batches that do not fit into memory, before one is unpacked."""
        room, rows = int(_BATCH_SHARE * self._limits.free_bytes), 0
        with self._path.open("rb") as stream:
            for number, batch in enumerate(batch_sizes(stream), start=1):
                if batch.size_bytes > room:
                    detail = f"Batch {number} takes {batch.size_bytes} bytes, which do not fit; write smaller batches."
                    raise TooLarge("batch_too_large", detail)
                if batch.is_dictionary:
                    room -= batch.size_bytes
                else:
                    rows += batch.row_count
                    _check_rows(rows)

    def _ends_as_streams_do(self) -> bool:
        """A stream that was cut between two batches reads like a whole one, but for the mark that ends it."""
        with self._path.open("rb") as stream:
            stream.seek(-min(8, self._path.stat().st_size), 2)
            return stream.read().endswith(_END_OF_STREAM)

    def _record_batches(self) -> Iterator[tuple[Any, float | None]]:
        with pa.OSFile(str(self._path)) as file:
            reader = self._open(file)
            whole = range(reader.num_record_batches) if hasattr(reader, "num_record_batches") else None
            for batch in (reader.get_batch(index) for index in whole) if whole is not None else reader:
                batch.validate()  # before anything believes it
                for column in batch.columns:
                    check_structure(column)
                rows = self._rows_at_once(batch.nbytes // max(1, batch.num_rows))
                for start in range(0, batch.num_rows, rows):
                    yield batch.slice(start, rows), None

    def _open(self, file: Any) -> Any:
        with self._path.open("rb") as stream:
            is_file = stream.read(6) == b"ARROW1"
        return pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
