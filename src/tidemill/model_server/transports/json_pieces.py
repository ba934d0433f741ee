"""Large bodies of JSON become the same rows as small ones, but piece by piece, and only what the model asks for.

Parsing, throwing away and looking for what can be thrown away take a call each that no other thread interrupts. So none
of them is made for more than a piece: some rows, or one, whose number of values is limited. Columns that the model does
not know, and lists and objects where it takes none, are gone before the next piece is read.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

from tidemill.kit.errors import Invalid, Malformed, TooLarge
from tidemill.kit.json_shape import may_exceed_64_bits, text_bytes
from tidemill.kit.limits import MAX_RECORD_BYTES
from tidemill.kit.signatures import Column
from tidemill.kit.sizes import format_size
from tidemill.model_server.tables import NESTED
from tidemill.model_server.transports.json_outline import JsonOutline, Span
from tidemill.model_server.transports.repeated import refuse_repeated
from tidemill.model_server.transports.sizes import count_values, has_long_number, json_bytes
from tidemill.model_server.validation import ACCEPTED

LARGE_BYTES = 2**16
"""Smaller bodies are parsed at once, in the event loop."""
PIECE_BYTES = 2**16
_MOST_VALUES = 200_000
"""In one row, and in what stands beside the rows."""
_MOST_NUMBER_CHARACTERS = 400
"""The longest one that a double has takes 309 digits."""
_MOST_MEMBERS = 100_000
"""Of the body, and columns of a table."""
_CELL_BYTES, _MEMBER_BYTES = 32, 300
"""What is known of the places of a column's cells and of members, beyond what the values take."""
_PAUSE_SECONDS = 0.0002
"""After each piece, long enough for the event loop to go on: giving way without it is not enough."""
_ROWS = ("inputs", "dataframe_records", "instances")
_CONTAINERS = frozenset({dict, list})
Take = Callable[[int], None]


def parse_piece(text: bytes, take: Take) -> Any:
    """What ``text`` is as JSON, exact for integers of any size.

    Raises Malformed with the place in ``text``, and Invalid for two members of one name in an object.
    """
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Malformed("body_not_json", f"The body is not JSON ({place}).") from error
    refuse_repeated(text, found)
    if not may_exceed_64_bits(text):
        return found
    del found  # in which integers of more than 64 bits have become floats
    take(text_bytes(text))
    try:
        return json.loads(text)
    except (RecursionError, ValueError):
        raise Malformed("body_not_json", "The body nests too deeply, or has a number of too many digits.") from None


class LargeJson:
    """A body of predictions. Only for a thread: it takes seconds.

    ``signature``: what is kept of rows. Raises Malformed, Invalid, TooLarge as `parse_piece` does and for more than
    ``max_rows`` rows or too many values in one of them, and what ``take`` raises.
    """

    def __init__(
        self, body: bytes, signature: Sequence[Column], max_rows: int, take: Take, piece_bytes: int = PIECE_BYTES
    ) -> None:
        take(json_bytes(body))
        self._piece_bytes = piece_bytes
        self._take = take
        self._known = frozenset(column.name for column in signature)
        self._flat = frozenset(column.name for column in signature if column.type in ACCEPTED)
        self._max_rows = max_rows
        self._outline = JsonOutline(body)
        self._since_pause = 0

    def content(self) -> Any:
        """The body as a parser gives it, with rows and columns reduced to what the model asks for.

        Members of other names than are known have no value: they are refused for their names.
        """
        root = self._outline.root()
        if self._outline.kind(root) != "{":
            return self._whole(root)
        return {name: self._member(name, span) for name, span in self._members(root)}

    def _member(self, name: str, span: Span) -> Any:
        kind = self._outline.kind(span)
        if name in _ROWS and kind == "[":
            return self._rows(span)
        if name == "inputs" and kind == "{":
            return {name: self._column(name, span) for name, span in self._members(span)}
        if name == "dataframe_split" and kind == "{":
            return self._split(span)
        return self._whole(span) if name in ("params", "dataframe_split", *_ROWS) else None

    def _rows(self, span: Span) -> list[Any]:
        return [self._reduced(row) for rows in self._parsed_list(span) for row in rows]

    def _reduced(self, row: Any) -> Any:
        if type(row) is not dict:
            return NESTED if type(row) is list else row
        if row.keys() <= self._known and _CONTAINERS.isdisjoint(map(type, row.values())):
            return row
        return {name: self._kept(name, value) for name, value in row.items() if name in self._known}

    def _kept(self, name: str, value: Any) -> Any:
        return NESTED if name in self._flat and type(value) in _CONTAINERS else value

    def _column(self, name: str, span: Span) -> Any:
        if self._outline.kind(span) != "[" or span.end - span.start <= self._piece_bytes:
            return self._kept_cells(name, self._whole(span))
        self._take(_CELL_BYTES * self._outline.count(span))
        return [cell for cells in self._parsed_list(span) for cell in self._kept_cells(name, cells)]

    def _kept_cells(self, name: str, cells: Any) -> Any:
        if type(cells) is not list:
            return self._kept(name, cells)
        return [self._kept(name, cell) for cell in cells] if name in self._known else [None] * len(cells)

    def _split(self, span: Span) -> dict[str, Any]:
        spans = dict(self._members(span))
        found = {name: self._whole(part) for name, part in spans.items() if name != "data"}
        if "data" not in spans or self._outline.kind(spans["data"]) != "[":
            return found | ({"data": self._whole(spans["data"])} if "data" in spans else {})
        columns = found.get("columns")
        names = [str(name) for name in columns] if isinstance(columns, list) else []
        rows = (row for rows in self._parsed_list(spans["data"]) for row in rows)
        return found | {"data": [self._reduced_cells(row, names) for row in rows]}

    def _reduced_cells(self, row: Any, names: list[str]) -> Any:
        if type(row) is not list or len(row) != len(names):
            return NESTED  # no row of this table, whatever is in it
        return [self._kept(name, cell) if name in self._known else None for name, cell in zip(names, row, strict=True)]

    def _members(self, span: Span) -> Iterator[tuple[str, Span]]:
        count = self._outline.count(span)
        if count > _MOST_MEMBERS:
            raise _too_many_values(_MOST_MEMBERS)
        self._take(_MEMBER_BYTES * count)
        seen: set[str] = set()
        for name, part in self._outline.members(span):
            if name in seen:
                raise Invalid("member_repeated", "An object of the body has two members of the same name.")
            seen.add(name)
            yield name, part

    def _parsed_list(self, span: Span) -> Iterator[list[Any]]:
        """The elements of a list, some at a time."""
        if self._outline.count(span) > self._max_rows:
            raise TooLarge("rows_too_many", f"One request may hold at most {self._max_rows} rows.")
        for start, end, count in self._outline.pieces(span, self._piece_bytes):
            yield self._parsed(start, end, count)

    def _parsed(self, start: int, end: int, count: int) -> list[Any]:
        """The ``count`` elements that stand there with commas between them."""
        text = self._outline.body[start:end]
        if len(text) > self._piece_bytes:
            _check_shape(text)
        try:
            found: list[Any] = parse_piece(b"[" + text + b"]", self._take)
        except Malformed as error:
            cause = error.__cause__
            if not isinstance(cause, orjson.JSONDecodeError):
                raise
            self._outline.refuse(start, cause.lineno, cause.colno - (cause.lineno == 1))
        if len(found) != count:
            self._outline.refuse_damaged(start)
        self._pause(len(text))
        return found

    def _pause(self, size_bytes: int) -> None:
        self._since_pause += size_bytes
        if self._since_pause >= PIECE_BYTES // 2:
            self._since_pause = 0
            time.sleep(_PAUSE_SECONDS)

    def _whole(self, span: Span) -> Any:
        return self._parsed(span.start, span.end, 1)[0]


def _check_shape(text: bytes) -> None:
    """Of what is parsed in one go although it is larger than a piece."""
    if len(text) > MAX_RECORD_BYTES:
        limit = format_size(MAX_RECORD_BYTES)
        raise TooLarge("row_too_large", f"A row, or what stands beside the rows, takes more than {limit} as JSON.")
    if count_values(text) > _MOST_VALUES:
        raise _too_many_values(_MOST_VALUES)
    if has_long_number(text, _MOST_NUMBER_CHARACTERS):
        detail = f"A number in the body has more than {_MOST_NUMBER_CHARACTERS} characters."
        raise Malformed("json_number_too_long", detail)


def _too_many_values(most: int) -> TooLarge:
    detail = f"A row, a table by columns, or what stands beside the rows has more than {most} values."
    return TooLarge("json_too_many_values", detail)
