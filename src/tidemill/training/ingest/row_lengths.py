"""How long the rows of typed columns are as plain texts, told before any text is written out.

A dictionary or a view keeps a long text once for any number of rows; written out, it is there for each of them.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tidemill.kit.errors import Problem, TooLarge
from tidemill.kit.sizes import format_size

Lengths = NDArray[np.int64]
_VIEW_BYTES = 16
MOST_TEXTS_BYTES = 200 * 2**30


def slices(batch: Any, first_index: int, most_bytes: int, longest_row_bytes: int) -> Iterator[Any]:
    """``batch`` in pieces whose texts take ``most_bytes``, or a row. Raises TooLarge naming a row that is too long."""
    texts = _text_lengths(batch)
    if not texts:
        yield batch
        return
    rows = _sums(texts)
    if (long := _first_long(texts, rows, longest_row_bytes)) is not None:
        row, column = long
        number = first_index + row + 1
        raise row_too_long(number, f"row {number}, column {column}", longest_row_bytes)
    yield from _cut(batch, np.cumsum(rows), most_bytes)


def long_row(batch: Any, longest_row_bytes: int) -> tuple[int, str] | None:
    """Position of the first row whose texts are longer together, and the column of its longest one."""
    texts = _text_lengths(batch)
    return _first_long(texts, _sums(texts), longest_row_bytes) if texts else None


def _first_long(texts: dict[str, Lengths], rows: Lengths, longest_row_bytes: int) -> tuple[int, str] | None:
    if not rows.size or rows.max() <= longest_row_bytes:
        return None
    row = int(np.argmax(rows > longest_row_bytes))
    return row, max(texts, key=lambda name: texts[name][row])


def _sums(texts: dict[str, Lengths]) -> Lengths:
    sums: Lengths = np.sum(list(texts.values()), axis=0, dtype=np.int64)
    return sums


def _text_lengths(batch: Any) -> dict[str, Lengths]:
    lengths = {name: _lengths(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    return {name: found for name, found in lengths.items() if found is not None}


def _cut(batch: Any, ends: Lengths, most_bytes: int) -> Iterator[Any]:
    start, done = 0, 0
    while start < batch.num_rows:
        end = max(start + 1, int(np.searchsorted(ends, done + most_bytes, side="right")))
        yield batch.slice(start, end - start)
        start, done = end, int(ends[min(end, batch.num_rows) - 1])


def row_too_long(number: int, place: str, longest_row_bytes: int) -> TooLarge:
    """``place``: of the longest text of the row."""
    problem = Problem(place, "row_too_long", "The longest text of the row.")
    return TooLarge("row_too_long", f"Row {number} is longer than {longest_row_bytes} bytes.", [problem])


def texts_grown(most_bytes: int) -> TooLarge:
    """Some formats hold a text once however often it stands in the table, so a few bytes may go on for days."""
    detail = f"Written out, the texts of so small a file take more than {format_size(most_bytes)}."
    return TooLarge("file_too_large", detail)


def _lengths(column: Any) -> Lengths | None:
    """Bytes of each text of a column; None if it has no texts."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        values = _lengths(column.dictionary)
        return None if values is None else _numbers(pa.array(values).take(column.indices))
    if pa.types.is_string_view(kind):
        return _view_lengths(column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _numbers(pc.binary_length(column))
    return None


def _view_lengths(column: Any) -> Lengths:
    """A view begins with the length of its text."""
    views = np.frombuffer(column.buffers()[1], dtype=np.int32).reshape(-1, _VIEW_BYTES // 4)
    found = views[column.offset : column.offset + len(column), 0].astype(np.int64)
    return np.where(column.is_valid().to_numpy(zero_copy_only=False), found, 0)


def _numbers(lengths: Any) -> Lengths:
    return np.asarray(lengths.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
