"""JSON: an array of objects, or one object a line (NDJSON).

Numbers keep their exact digits until types are decided. NDJSON rows are numbered by line, JSON rows by element from 1.
"""

import codecs
import json
import re
from collections.abc import Generator, Iterator, Sequence
from typing import IO, Any

import numpy as np
import pyarrow as pa

from tidemill.kit.errors import Invalid, Problem, TooLarge
from tidemill.reading.text import PlainText
from tidemill.schemas.datasets import MAX_COLUMNS
from tidemill.training.ingest.model import Batch, Limits
from tidemill.training.ingest.storable import is_storable, refuse_text, text_array

_CELL_BYTES = 64
_WINDOW_BYTES = 2**18
_BLANKS = re.compile(r"[ \t\r\n]*")


class _Number(str):
    """The digits of a JSON number as they stand in the file."""

    __slots__ = ()


class _Repeated(Exception):
    """An object has two members of one name, of which other readers drop the first."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _Repeated
    return members


_DECODER = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_Number, object_pairs_hook=_members)


class _JsonRows:
    """What both forms share: objects to columns of text, and which of the values were text."""

    typed = False
    format = ""
    place = ""

    def __init__(self, text: PlainText, limits: Limits) -> None:
        self._text = text
        self._limits = limits
        self._names: dict[str, None] = {}
        self.warnings = text.warnings
        if next(self.batches(), None) is not None and not self._names:
            raise Invalid("no_columns", "The first objects have no members.")

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
            problem = Problem(f"row {number}", "json_not_objects", "This is no JSON object.")
            raise Invalid("json_not_objects", f"{self.place} {number} is not a JSON object.", [problem])
        if not row.keys() <= self._names.keys():
            self._names.update(dict.fromkeys(row))
            if "" in self._names or not all(map(is_storable, row)):
                problem = Problem(f"row {number}", "column_name_empty", "A member has no usable name.")
                detail = f"{self.place} {number} has a member without a usable name."
                raise Invalid("column_name_empty", detail, [problem])
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
            array, wrong = text_array([_text_of(value) for value in values])
            if wrong is not None:
                refuse_text(self.row_numbers([first_index + wrong])[first_index + wrong], name)
            arrays.append(array)
            mask = np.array([type(value) is str for value in values], dtype=bool)
            if mask.any():
                quoted[name] = mask
        return Batch(pa.Table.from_arrays(arrays, names=list(self._names)), first_index, quoted, share)


def _lines(stream: IO[bytes], longest_bytes: int) -> Iterator[bytes]:
    """Lines with their ends, which are LF, CRLF or CR; the last one is one that is longer than a line may be."""
    pending: list[bytes] = []
    while chunk := stream.read(_WINDOW_BYTES):
        pending.append(chunk)
        if b"\n" not in chunk and b"\r" not in chunk and not pending[0].endswith(b"\r"):
            if sum(map(len, pending)) > longest_bytes:
                break
            continue
        lines = b"".join(pending).splitlines(keepends=True)
        # A CR at the end may be half of a line's end.
        pending = [] if lines[-1].endswith(b"\n") else [lines.pop()]
        yield from lines
    if pending:
        yield b"".join(pending)


def _text_of(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if value is True or value is False:
        return "true" if value else "false"
    return str(value)


def _repeated(place: str, number: int) -> Invalid:
    problem = Problem(f"row {number}", "member_repeated", "Two members have the same name.")
    return Invalid("member_repeated", f"{place} {number} has two members of the same name.", [problem])


class NdjsonSource(_JsonRows):
    format = "ndjson"
    place = "Line"

    def row_numbers(self, indices: Sequence[int]) -> dict[int, int]:
        wanted = set(indices)
        with self._text.path.open("rb") as stream:
            lines = enumerate(_lines(stream, self._limits.longest_row_bytes), start=1)
            filled = (number for number, line in lines if line.strip())
            return {index: number for index, number in enumerate(filled) if index in wanted}

    def _objects(self, stream: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
        limit_bytes = self._limits.longest_row_bytes
        for number, line in enumerate(_lines(stream, limit_bytes), start=1):
            if len(line) > limit_bytes:
                raise TooLarge("row_too_long", f"Line {number} is longer than {limit_bytes} bytes.")
            if text := line.strip():
                yield number, self._decoded(text.decode(), number)

    def _decoded(self, text: str, number: int) -> Any:
        try:
            return _DECODER.decode(text)
        except _Repeated:
            raise _repeated(self.place, number) from None
        except (json.JSONDecodeError, RecursionError):
            detail = f"Line {number} is not JSON. A file of JSON is an array of objects, or one object a line."
            raise Invalid("json_invalid", detail, [Problem(f"row {number}", "json_invalid", "Not JSON.")]) from None


class JsonSource(_JsonRows):
    format = "json"
    place = "Element"

    def row_numbers(self, indices: Sequence[int]) -> dict[int, int]:
        return {index: index + 1 for index in indices}

    def _objects(self, stream: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
        text, number = _Window(stream, self._limits.longest_row_bytes), 0
        if text.next_character() != "[":
            raise self._invalid(number)
        text.skip()
        while text.next_character() != "]":
            if number and text.next_character() != ",":
                raise self._invalid(number)
            text.skip(1 if number else 0)
            number += 1
            yield number, self._element(text, number)
        text.skip()
        if text.next_character():
            raise self._invalid(number)

    def _element(self, text: "_Window", number: int) -> Any:
        try:
            return text.take(_DECODER, number)
        except _Repeated:
            raise _repeated(self.place, number) from None
        except (json.JSONDecodeError, RecursionError):
            raise self._invalid(number - 1) from None

    def _invalid(self, number: int) -> Invalid:
        return Invalid("json_invalid", f"The file is not JSON after element {number} of its array.")


class _Window:
    """A piece of a long text, moved forward element by element."""

    def __init__(self, stream: IO[bytes], longest_bytes: int) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._longest = longest_bytes
        self._text = ""
        self._at = 0

    def next_character(self) -> str:
        """The next one that is no blank, empty at the end; it stays."""
        while True:
            blanks = _BLANKS.match(self._text, self._at)
            self._at = blanks.end() if blanks else self._at
            if self._at < len(self._text) or not self._read_on():
                return self._text[self._at : self._at + 1]

    def skip(self, characters: int = 1) -> None:
        self._at += characters

    def take(self, decoder: json.JSONDecoder, number: int) -> Any:
        """The value that begins here. Raises JSONDecodeError, TooLarge."""
        self.next_character()
        wanted_bytes = _WINDOW_BYTES
        while True:
            try:
                value, self._at = decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if len(self._text) - self._at > self._longest:
                    raise TooLarge("row_too_long", f"Element {number} is longer than {self._longest} bytes.") from None
                if not self._read_on(wanted_bytes):
                    raise
                wanted_bytes *= 2  # else a long element would be parsed once for every piece of it
            else:
                return value

    def _read_on(self, size_bytes: int = _WINDOW_BYTES) -> bool:
        chunk = self._stream.read(size_bytes)
        self._text, self._at = self._text[self._at :] + self._decode(chunk), 0
        return bool(chunk)
