"""JSON: an array of objects, or one object a line (NDJSON).

Numbers keep their exact digits until types are decided. NDJSON rows are numbered by line, JSON rows by element from 1.
"""

import json
from collections.abc import Generator, Iterator, Sequence
from typing import IO, Any

import ijson
import numpy as np
import pyarrow as pa

from tidemill.kit.errors import Invalid, Problem, TooLarge
from tidemill.schemas.datasets import MAX_COLUMNS
from tidemill.training.ingest.model import Batch, Limits
from tidemill.training.ingest.text import PlainText

_BATCH_ROWS = 2**13
_CELL_BYTES = 64


class _Number(str):
    """The digits of a JSON number as they stand in the file."""

    __slots__ = ()


class _JsonRows:
    """What both forms share: objects to columns of text, and which of the values were text."""

    typed = False
    format = ""
    place = ""

    def __init__(self, text: PlainText, limits: Limits) -> None:
        self._text = text
        self._limits = limits
        self._names: dict[str, None] = {}
        next(self.batches(), None)

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._names)

    def describe(self) -> dict[str, Any]:
        return {
            "format": self.format,
            "encoding": self._text.encoding,
            "encoding_guessed": self._text.guessed,
            "compression": self._text.compression.value,
        }

    def batches(self) -> Generator[Batch, None, None]:
        rows: list[dict[str, Any]] = []
        index = begins = 0
        with self._text.path.open("rb") as stream:
            size_bytes = max(1, self._text.path.stat().st_size)
            for number, row in self._objects(stream):
                self._check(number, row)
                rows.append(row)
                cells_bytes = len(rows) * max(1, len(self._names)) * _CELL_BYTES
                if max(cells_bytes, stream.tell() - begins) >= 4 * self._limits.block_bytes:
                    begins = stream.tell()
                    yield self._batch(rows, index, begins / size_bytes)
                    index, rows = index + len(rows), []
        if rows:
            yield self._batch(rows, index, 1.0)

    def row_numbers(self, indices: Sequence[int]) -> dict[int, int]:
        raise NotImplementedError

    def _objects(self, stream: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
        raise NotImplementedError

    def _check(self, number: int, row: Any) -> None:
        if not isinstance(row, dict):
            raise Invalid("json_not_objects", f"{self.place} {number} is not a JSON object.")
        if not row.keys() <= self._names.keys():
            self._names.update(dict.fromkeys(row))
            if "" in self._names:
                raise Invalid("column_name_empty", f"{self.place} {number} has a member without a name.")
            if len(self._names) > MAX_COLUMNS:
                raise TooLarge("too_many_columns", f"The objects have more than {MAX_COLUMNS} different members.")
        for name, value in row.items():
            if isinstance(value, (dict, list)):
                problem = Problem(f"row {number}, column {name}", "nested_value", "The value is an object or array.")
                raise Invalid("nested_values", f"{self.place} {number} holds a nested value; flatten it.", [problem])

    def _batch(self, rows: list[dict[str, Any]], first_index: int, share: float) -> Batch:
        arrays, quoted = [], {}
        for name in self._names:
            values = [row.get(name) for row in rows]
            arrays.append(pa.array([_text_of(value) for value in values], pa.string()))
            mask = np.array([type(value) is str for value in values], dtype=bool)
            if mask.any():
                quoted[name] = mask
        return Batch(pa.Table.from_arrays(arrays, names=list(self._names)), first_index, quoted, share)


def _text_of(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if value is True or value is False:
        return "true" if value else "false"
    return str(value)


class NdjsonSource(_JsonRows):
    format = "ndjson"
    place = "Line"

    def row_numbers(self, indices: Sequence[int]) -> dict[int, int]:
        wanted = set(indices)
        with self._text.path.open("rb") as stream:
            filled = (number for number, line in enumerate(stream, start=1) if line.strip())
            return {index: number for index, number in enumerate(filled) if index in wanted}

    def _objects(self, stream: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
        decoder = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_Number)
        limit_bytes = self._limits.longest_row_bytes
        number = 0
        while line := stream.readline(limit_bytes + 1):
            number += 1
            if len(line) > limit_bytes:
                raise TooLarge("row_too_long", f"Line {number} is longer than {limit_bytes} bytes.")
            if text := line.strip():
                yield number, self._decoded(decoder, text.decode(), number)

    def _decoded(self, decoder: json.JSONDecoder, text: str, number: int) -> Any:
        try:
            return decoder.decode(text)
        except (json.JSONDecodeError, RecursionError):
            detail = f"Line {number} is not JSON. A file of JSON is an array of objects, or one object a line."
            raise Invalid("json_invalid", detail, [Problem(f"row {number}", "json_invalid", "Not JSON.")]) from None


class JsonSource(_JsonRows):
    format = "json"
    place = "Element"

    def row_numbers(self, indices: Sequence[int]) -> dict[int, int]:
        return {index: index + 1 for index in indices}

    def _objects(self, stream: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
        number = 0
        try:
            for row in ijson.items(stream, "item", use_float=False):
                number += 1
                yield number, row
        except (ijson.JSONError, UnicodeDecodeError):
            raise Invalid("json_invalid", f"The file is not JSON after element {number} of its array.") from None
