"""Rows as the transports read them from a request: columns by name, and the place of each cell for error messages."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tidemill.kit.errors import Invalid, Problem

MISSING = object()
"""The cell of a row that does not mention the column."""


class _Nested:
    """Its own type, so that it fits no column."""


NESTED = _Nested()
"""Stands for a list or an object where none is taken, which was not kept."""


class InputTable(Protocol):
    @property
    def row_count(self) -> int: ...

    def column(self, name: str) -> Sequence[Any] | None:
        """One value per row; `MISSING` where a row lacks it, None if no row has the column."""

    def place(self, row: int, name: str) -> str:
        """JSON pointer of a cell, or its row and column."""

    def place_of_column(self, name: str) -> str:
        """The same of a column that is not there."""


def pointer(*parts: str | int) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


class RecordsTable:
    """``[{column: value}, ...]``."""

    def __init__(self, rows: Any, at: str) -> None:
        self._at = at
        if not isinstance(rows, list):
            raise Invalid("inputs_invalid", "Rows are a list of objects.", [Problem(at, "not_a_list", "Not a list.")])
        if not set(map(type, rows)) <= {dict}:
            wrong = [index for index, row in enumerate(rows) if type(row) is not dict]
            problems = [Problem(f"{at}/{index}", "not_an_object", "A row is an object.") for index in wrong[:100]]
            raise Invalid("inputs_invalid", f"{len(wrong)} of {len(rows)} rows are no objects.", problems)
        self._rows: list[dict[str, Any]] = rows

    @property
    def row_count(self) -> int:
        return len(self._rows)

    def column(self, name: str) -> Sequence[Any] | None:
        values = [row.get(name, MISSING) for row in self._rows]
        absent = values.count(MISSING)
        return None if absent == len(values) else values

    def place(self, row: int, name: str) -> str:
        return f"{self._at}/{row}{pointer(name)}"

    def place_of_column(self, name: str) -> str:
        return f"{self._at}/0{pointer(name)}"


class ColumnsTable:
    """``{column: [value, ...]}``; a plain value instead of a list is a table of one row."""

    def __init__(self, columns: Mapping[str, Any], at: str) -> None:
        self._at = at
        self._is_one_row = not any(isinstance(values, list) for values in columns.values())
        lists = {name: [values] if self._is_one_row else values for name, values in columns.items()}
        self._columns: dict[str, list[Any]] = lists
        lengths = {len(values) if isinstance(values, list) else -1 for values in lists.values()}
        if len(lengths) != 1 or -1 in lengths:
            raise Invalid(
                "inputs_invalid",
                "Columns are lists of equal length.",
                [Problem(at, "lengths_differ", "Not all columns are lists of the same length.")],
            )
        self.row_count = lengths.pop()

    def column(self, name: str) -> Sequence[Any] | None:
        return self._columns.get(name)

    def place(self, row: int, name: str) -> str:
        return self._at + (pointer(name) if self._is_one_row else pointer(name, row))

    def place_of_column(self, name: str) -> str:
        return self._at + pointer(name)


class SplitTable:
    """``columns`` and ``data`` apart, as pandas writes with ``orient="split"``."""

    def __init__(self, split: Any, at: str) -> None:
        self._at = at
        names, rows = self._parts(split)
        self._index = {str(name): index for index, name in enumerate(names)}
        if len(self._index) != len(names):
            problem = Problem(f"{at}/columns", "column_duplicate", "Two columns have the same name.")
            raise Invalid("inputs_invalid", "Column names must differ.", [problem])
        wrong = [i for i, row in enumerate(rows) if not isinstance(row, list) or len(row) != len(names)]
        if wrong:
            problems = [Problem(f"{at}/data/{i}", "row_length", f"Not {len(names)} values.") for i in wrong[:100]]
            raise Invalid("inputs_invalid", f"{len(wrong)} rows do not have one value per column.", problems)
        self._rows: list[list[Any]] = rows

    @property
    def row_count(self) -> int:
        return len(self._rows)

    def column(self, name: str) -> Sequence[Any] | None:
        index = self._index.get(name)
        return None if index is None else [row[index] for row in self._rows]

    def place(self, row: int, name: str) -> str:
        return f"{self._at}/data/{row}/{self._index[name]}"

    def place_of_column(self, name: str) -> str:
        return f"{self._at}/columns{pointer(name)}"

    def _parts(self, split: Any) -> tuple[list[Any], list[Any]]:
        names = split.get("columns") if isinstance(split, dict) else None
        rows = split.get("data") if isinstance(split, dict) else None
        if not isinstance(names, list) or not isinstance(rows, list):
            problem = Problem(self._at, "split_incomplete", "Both columns and data must be lists.")
            raise Invalid("inputs_invalid", "A split table has columns and data.", [problem])
        return names, rows
