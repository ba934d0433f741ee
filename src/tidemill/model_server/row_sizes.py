"""No row is predicted that cannot be kept: rows beyond the limit are refused before the model sees them."""

from collections.abc import Sequence
from typing import Any

import orjson

from tidemill.kit.errors import Problem, TooLarge
from tidemill.kit.limits import MAX_ROW_BYTES
from tidemill.kit.signatures import Column
from tidemill.kit.sizes import format_size
from tidemill.model_server.tables import InputTable
from tidemill.model_server.validation import MAX_PROBLEMS, Columns

_SMALL = frozenset({"boolean", "integer", "long", "float", "double", "datetime"})
_LINE_BYTES = 400
"""Of a ledger's line beside its inputs."""
_CELL_BYTES = 48
"""Of a number as an object, in the model's frame and in a line."""
_TEXT_COPIES = 4
"""Of a text: in the model's frame, in a line, among the lines, in the ledger's queue."""


def rows_bytes(row_count: int, signature: Sequence[Column], class_count: int) -> int:
    """What rows take to predict and to record, whatever their texts are."""
    names = sum(_CELL_BYTES + len(column.name) for column in signature)
    return row_count * (_LINE_BYTES + names + class_count * _CELL_BYTES)


def checked_texts_bytes(table: InputTable, columns: Columns, signature: Sequence[Column]) -> int:
    """What the texts of ``columns`` take to predict and to record.

    Raises TooLarge naming the rows whose values are larger than `MAX_ROW_BYTES` together, by their largest cell.
    """
    sizes = {column.name: _sizes(columns[column.name]) for column in signature if column.type not in _SMALL}
    rows = [sum(row) for row in zip(*sizes.values(), strict=True)]
    if max(rows, default=0) > MAX_ROW_BYTES:
        wrong = [row for row, size in enumerate(rows) if size > MAX_ROW_BYTES]
        raise rows_too_large([table.place(row, _largest(sizes, row)) for row in wrong])
    return _TEXT_COPIES * int(sum(rows))


def rows_too_large(places: Sequence[str]) -> TooLarge:
    detail = f"The values of a row take more than {format_size(MAX_ROW_BYTES)} together."
    rows = "1 row is" if len(places) == 1 else f"{len(places)} rows are"
    problems = [Problem(place, "row_too_large", detail) for place in places[:MAX_PROBLEMS]]
    return TooLarge("row_too_large", f"{rows} larger than {format_size(MAX_ROW_BYTES)}.", problems)


def _sizes(values: Sequence[Any]) -> list[int]:
    return [_size(value) for value in values]


def _size(value: Any) -> int:
    if value is None:
        return 0
    if type(value) is str:
        return len(value) if value.isascii() else len(value.encode(errors="replace"))
    return len(orjson.dumps(value, default=str))


def _largest(sizes: dict[str, list[int]], row: int) -> str:
    return max(sizes, key=lambda name: sizes[name][row])
