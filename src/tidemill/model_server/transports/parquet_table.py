"""Parquet keeps types: its values are checked like those of JSON, and texts are turned into nothing else."""

import base64
import math
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.kit.errors import Invalid, TooLarge
from tidemill.kit.signatures import Column
from tidemill.reading.damage import decoding

_BATCH_ROWS = 1024
_MOST_BYTES = 512 * 2**20


class ParquetTable:
    """The signature's columns of a Parquet file. Times become ISO 8601 texts, NaN null, as in the other forms.

    Raises Invalid for what is no Parquet file, TooLarge for more than ``max_rows`` rows or 512 MiB once decompressed.
    """

    def __init__(self, content: bytes, signature: Sequence[Column], max_rows: int) -> None:
        with decoding("Parquet", "parquet_invalid"):
            file = pq.ParquetFile(pa.BufferReader(content))
            self.row_count = int(file.metadata.num_rows)
            names = _wanted(file, {column.name for column in signature}, max_rows)
            table = _read(file, names) if names else None
            texts = {column.name for column in signature if column.type != "binary"}
            self._columns = {name: _values(table.column(name), name in texts) for name in names} if table else {}

    def column(self, name: str) -> Sequence[Any] | None:
        return self._columns.get(name)

    def place(self, row: int, name: str) -> str:
        return f"row {row + 1}, column {name}"

    def place_of_column(self, name: str) -> str:
        return f"column {name}"


def _wanted(file: pq.ParquetFile, names: set[str], max_rows: int) -> list[str]:
    if file.metadata.num_rows > max_rows:
        raise TooLarge("rows_too_many", f"One request may hold at most {max_rows} rows.")
    present = file.schema_arrow.names
    if len(set(present)) != len(present):
        raise Invalid("inputs_invalid", "Two columns of the file have the same name.")
    return [name for name in present if name in names]


def _read(file: pq.ParquetFile, names: list[str]) -> pa.Table:
    schema = pa.schema([file.schema_arrow.field(name) for name in names])
    return pa.Table.from_batches(_batches(file, names), schema)


def _batches(file: pq.ParquetFile, names: list[str]) -> Iterator[pa.RecordBatch]:
    """A small file may hold very much: it is counted as it is unpacked."""
    size_bytes = 0
    for batch in file.iter_batches(_BATCH_ROWS, columns=names, use_threads=False):
        size_bytes += batch.nbytes
        if size_bytes > _MOST_BYTES:
            raise TooLarge("body_too_large", f"The file holds more than {_MOST_BYTES} bytes once it is unpacked.")
        yield batch


def _values(column: pa.ChunkedArray, keeps_bytes: bool) -> list[Any]:
    """``keeps_bytes``: no bytes are wanted, so that they stay what they are and are refused with their place."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", kind.tz))  # raises where digits would be lost
    values: list[Any] = column.to_pylist()
    if pa.types.is_floating(kind):
        return [None if value is None or math.isnan(value) else value for value in values]
    is_binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    if pa.types.is_temporal(kind) or (is_binary and not keeps_bytes):
        return [_text(value) for value in values]
    return values


def _text(value: Any) -> Any:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
