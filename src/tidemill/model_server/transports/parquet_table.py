"""Parquet keeps types: its values are checked like those of JSON, and texts are turned into nothing else.

A small file may hold very much: a page packs a run of equal bytes into a few, and a dictionary keeps a long text once
for any number of rows. So the headers of the pages are added up before one is unpacked, and texts stay in their
dictionary until the length of every row is known.
"""

import base64
import math
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidemill.kit.errors import Invalid, Problem, TooLarge, Unsupported
from tidemill.kit.moments import moment_of_ticks
from tidemill.kit.parquet_pages import DIRECT_ENCODINGS, TAIL_BYTES, Page, check_footer, check_schema, read_pages
from tidemill.kit.signatures import Column
from tidemill.kit.thrift_compact import Damaged
from tidemill.reading.damage import decoding

Take = Callable[[int], None]
"""Claims memory for a request; raises TooLarge or Unavailable if there is none."""
_MOST_FOOTER_BYTES = 4 * 2**20
_FOOTER_GROWTH = 16
"""How much larger a footer is once it is read."""
_MOST_PAGES = 20_000
_MAX_PROBLEMS = 100
_VALUE_BYTES = 64
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_SECONDS = 86_400
_FLOAT_DIGITS = 15
_ROUNDED = "Values of the column {name} have more digits than are kept: decimals were rounded, times to microseconds."
_TEXT_COPIES = 5
"""Of a page of texts: unpacked, told apart, gathered, as an array and as objects of Python."""


class NoMoment:
    """In place of a time outside the years 1 to 9999: no column accepts it."""


_NO_MOMENT = NoMoment()


class ParquetTable:
    """The signature's columns of a Parquet file. Times become ISO 8601 texts, NaN null, as in the other forms.

    Raises Invalid for what is no Parquet file, TooLarge for more than ``max_rows`` rows, Unsupported for encodings
    whose size shows only in decoding, and what ``take`` raises.
    """

    def __init__(self, content: bytes, signature: Sequence[Column], max_rows: int, take: Take) -> None:
        try:
            with decoding("Parquet", "parquet_invalid"):
                file = _open(content, take)
                self.row_count = _checked_rows(file.metadata, max_rows)
                names = _wanted(file, {column.name for column in signature})
                table = _read(content, file, names, take) if names else pa.table({})
                texts = {column.name for column in signature if column.type != "binary"}
                reading = _Reading(take)
                self._columns = {name: reading.values(name, table.column(name), name in texts) for name in names}
                self.warnings = tuple(_ROUNDED.format(name=name) for name in reading.rounded)
        except Damaged:
            raise Invalid("parquet_invalid", "The body cannot be read as Parquet.") from None
        except OverflowError:
            raise TooLarge("parquet_too_complex", "The file has too large a footer or too many pages.") from None

    def column(self, name: str) -> Sequence[Any] | None:
        return self._columns.get(name)

    def place(self, row: int, name: str) -> str:
        return f"row {row + 1}, column {name}"

    def place_of_column(self, name: str) -> str:
        return f"column {name}"


def _open(content: bytes, take: Take) -> pq.ParquetFile:
    size = check_footer(content[-TAIL_BYTES:], _MOST_FOOTER_BYTES)
    if size > len(content):
        raise Damaged
    take(_FOOTER_GROWTH * size)
    check_schema(content[-size:-TAIL_BYTES])
    return _opened(content)


def _opened(content: bytes, **options: Any) -> pq.ParquetFile:
    return pq.ParquetFile(pa.BufferReader(content), thrift_string_size_limit=_MOST_FOOTER_BYTES, pre_buffer=False,
                          **options)  # fmt: skip


def _checked_rows(metadata: Any, max_rows: int) -> int:
    rows = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    if metadata.num_rows > max_rows or sum(rows) > max_rows:
        raise TooLarge("rows_too_many", f"One request may hold at most {max_rows} rows.")
    if sum(rows) != metadata.num_rows or min(rows, default=0) < 0:
        raise Damaged
    return int(metadata.num_rows)


def _wanted(file: pq.ParquetFile, names: set[str]) -> list[str]:
    present = file.schema_arrow.names
    if len(set(present)) != len(present):
        raise Invalid("inputs_invalid", "Two columns of the file have the same name.")
    wanted = [name for name in present if name in names]
    wrapped = [name for name in wanted if _is_wrapped(file.schema_arrow.field(name).type)]
    if wrapped:
        detail = "Types of extensions, such as JSON and UUID, cannot be read; write plain texts or numbers."
        problems = [Problem(f"column {name}", "type_unsupported", detail) for name in wrapped]
        raise Invalid("inputs_invalid", detail, problems[:_MAX_PROBLEMS])
    return wanted


def _is_wrapped(kind: pa.DataType) -> bool:
    """Whether a type is an extension's or holds one: texts in these come without a dictionary, as many as rows."""
    if isinstance(kind, pa.BaseExtensionType):
        return True
    if pa.types.is_dictionary(kind):
        return _is_wrapped(kind.value_type)
    return any(_is_wrapped(kind.field(index).type) for index in range(kind.num_fields))


def _read(content: bytes, file: pq.ParquetFile, names: list[str], take: Take) -> pa.Table:
    """The wanted columns, with every text in a dictionary."""
    leaves = [index for index in range(len(file.schema)) if file.schema.column(index).path.split(".")[0] in names]
    _take_pages(content, file, leaves, take)
    texts = [column.path for index in leaves if (column := file.schema.column(index)).physical_type == "BYTE_ARRAY"]
    opened = _opened(content, metadata=file.metadata, read_dictionary=texts)
    table = opened.read(columns=names, use_threads=False)
    if table.num_rows != file.metadata.num_rows:
        raise Damaged
    return table


def _take_pages(content: bytes, file: pq.ParquetFile, leaves: list[int], take: Take) -> None:
    left = _MOST_PAGES
    for group in range(file.metadata.num_row_groups):
        for leaf in leaves:
            pages = _pages(content, file.metadata.row_group(group).column(leaf), left)
            left -= len(pages)
            column = file.schema.column(leaf)
            _check_encodings(pages, column.path)
            copies = _TEXT_COPIES if "BYTE_ARRAY" in column.physical_type else 1
            width = _VALUE_BYTES + 2 * max(0, column.length)
            take(sum(copies * page.size_bytes + page.value_count * width for page in pages))


def _pages(content: bytes, chunk: Any, max_pages: int) -> list[Page]:
    offsets = [chunk.data_page_offset, chunk.dictionary_page_offset if chunk.has_dictionary_page else None]
    start = min((offset for offset in offsets if offset), default=-1)
    return read_pages(lambda at, size: content[at : at + size], start, chunk.total_compressed_size, max_pages)


def _check_encodings(pages: list[Page], path: str) -> None:
    if any(page.encoding not in DIRECT_ENCODINGS for page in pages):
        detail = f"Column {path} has an encoding that requests may not use; write it plain or with a dictionary."
        raise Unsupported("parquet_encoding_unsupported", detail)


class _Reading:
    """Columns as values of JSON, and which of them lost digits.

    ``keeps_bytes``: no bytes are wanted, so that they stay what they are and are refused with their place, as a
    `NoMoment` is.
    """

    def __init__(self, take: Take) -> None:
        self._take = take
        self.rounded: dict[str, None] = {}

    def values(self, name: str, column: pa.ChunkedArray, keeps_bytes: bool) -> list[Any]:
        kind = column.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            return self._moments(name, column)
        if pa.types.is_decimal(kind):
            return self._decimals(name, column)
        if pa.types.is_time(kind):  # as datasets write them
            texts: list[Any] = column.cast(pa.string()).to_pylist()
            return texts
        if pa.types.is_nested(kind):
            self._take(sum(2 * _flat_bytes(chunk) for chunk in column.chunks))
            values: list[Any] = column.to_pylist()
        elif pa.types.is_dictionary(kind):
            values = [value for chunk in column.chunks for value in _shared(chunk, keeps_bytes)]
            kind = kind.value_type
        else:
            values = column.to_pylist()
        if pa.types.is_floating(kind):
            return [None if value is None or math.isnan(value) else value for value in values]
        is_written = pa.types.is_temporal(kind) or (pa.types.is_fixed_size_binary(kind) and not keeps_bytes)
        return [_text(value) for value in values] if is_written else values

    def _moments(self, name: str, column: pa.ChunkedArray) -> list[Any]:
        """As datasets read them: in UTC if they have a zone, and to the microsecond."""
        kind = column.type
        is_date, has_zone = pa.types.is_date(kind), pa.types.is_timestamp(kind) and kind.tz is not None
        factor, per_second = (_DAY_SECONDS, 1) if pa.types.is_date32(kind) else (1, _TICKS[getattr(kind, "unit", "ms")])
        values: list[Any] = []
        for ticks in column.cast(pa.int32() if pa.types.is_date32(kind) else pa.int64()).to_pylist():
            moment, is_finer = (None, False) if ticks is None else moment_of_ticks(factor * ticks, per_second)
            if is_finer or (moment is not None and is_date and moment.time() != time()):
                self.rounded[name] = None
            written = _NO_MOMENT if moment is None else _written(moment, is_date, has_zone)
            values.append(None if ticks is None else written)
        return values

    def _decimals(self, name: str, column: pa.ChunkedArray) -> list[Any]:
        """As datasets read them: whole ones as integers, others as the nearest floats."""
        is_whole, values = column.type.scale <= 0, column.to_pylist()
        if not is_whole and any(value is not None and len(value.as_tuple().digits) > _FLOAT_DIGITS for value in values):
            self.rounded[name] = None
        return [None if value is None else int(value) if is_whole else float(value) for value in values]


def _written(moment: datetime, is_date: bool, has_zone: bool) -> str:
    if is_date:
        return moment.date().isoformat()
    return (moment if has_zone else moment.replace(tzinfo=None)).isoformat()


def _shared(chunk: pa.DictionaryArray, keeps_bytes: bool) -> list[Any]:
    """Equal texts are one object, however many rows have them."""
    values = [value if keeps_bytes else _text(value) for value in chunk.dictionary.to_pylist()]
    return [None if index is None else values[index] for index in chunk.indices.to_pylist()]


def _flat_bytes(array: pa.Array) -> int:
    """Of nested values, without dictionaries."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return int(pc.sum(pc.binary_length(array.dictionary).take(array.indices)).as_py() or 0)
    if pa.types.is_map(kind):
        return _flat_bytes(array.keys) + _flat_bytes(array.items)
    if pa.types.is_struct(kind):
        return sum(_flat_bytes(part) for part in array.flatten())
    if pa.types.is_nested(kind):
        return _flat_bytes(array.flatten())
    return int(array.nbytes)


def _text(value: Any) -> Any:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
