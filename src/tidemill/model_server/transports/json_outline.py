"""Where the parts of a large body of JSON begin and end, so that it can be parsed piece by piece.

A parser keeps every other thread waiting until it has built all objects of a text, and rows can be told apart without
building one: by commas outside of texts, and how many brackets are open where they stand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import orjson

from tidemill.kit.errors import Malformed
from tidemill.model_server.transports.json_damage import find_damage
from tidemill.model_server.transports.sizes import chunks

_LEVELS = (1, 2, 3)
"""The body's members, its rows or columns, and the rows or cells that a member of a member holds."""
_COMMA, _COLON = ord(","), ord(":")
_DELTAS = np.zeros(256, dtype=np.int8)
_DELTAS[[ord("["), ord("{")]] = 1
_DELTAS[[ord("]"), ord("}")]] = -1
_LONGEST_NAME_BYTES = 2**16
_PIECE_BYTES = 2**16
"""Of a damaged body, whose place is looked for."""
_SPACE = b" \t\n\r"

Marks = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Span:
    """A value from ``start`` to ``end`` (exclusive) of the body, without blanks around it, below ``level`` brackets."""

    start: int
    end: int
    level: int


class JsonOutline:
    """Commas and colons of a body's outer three levels. Raises Malformed if its brackets or quotes do not close.

    What lies between them is not looked at: whoever takes a part parses it, which tells whether it is JSON.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body
        self._marks: dict[int, list[Marks]] = {level: [] for level in _LEVELS}
        depth = self._read()
        if depth:
            self.refuse_damaged(len(body))
        self._at = {level: np.concatenate(marks) if marks else _none() for level, marks in self._marks.items()}
        del self._marks

    def root(self) -> Span:
        return self._span(0, len(self.body), 0)

    def kind(self, span: Span) -> str:
        """The character that the value begins with."""
        return self.body[span.start : span.start + 1].decode("latin-1")

    def members(self, span: Span) -> Iterator[tuple[str, Span]]:
        """Names and values of an object, in order, repeated ones too."""
        parts, level = self._parts(span), span.level + 1
        marks = self._between(span.start, span.end, level)
        nexts = np.append(marks, span.end)[np.searchsorted(marks, parts[:, 0])]  # the first mark of each part
        for (start, end), colon in zip(parts.tolist(), nexts.tolist(), strict=True):
            if colon >= end or self.body[colon] != _COLON:
                self.refuse_damaged(start)
            yield self._name(start, colon), self._span(colon + 1, end, level)

    def count(self, span: Span) -> int:
        """How many parts an object or list has, if it is JSON."""
        return len(self._parts(span))

    def pieces(self, span: Span, most_bytes: int) -> Iterator[tuple[int, int, int]]:
        """Of a list: start and end of neighbouring elements, ``most_bytes`` together or one alone, and their number."""
        parts, first = self._parts(span), 0
        while first < len(parts):
            start = int(parts[first, 0])
            last = max(first + 1, int(np.searchsorted(parts[:, 1], start + most_bytes, side="right")))
            yield start, int(parts[last - 1, 1]), last - first
            first = last

    def refuse_damaged(self, at: int) -> NoReturn:
        """Raise Malformed for the place where the body stops being JSON, or for ``at`` if that cannot be told."""
        damage = find_damage(self.body, _PIECE_BYTES)
        if damage is None:
            self.refuse(at)
        self.refuse(damage.start, damage.line, damage.column)

    def refuse(self, at: int, line: int = 1, column: int = 1) -> NoReturn:
        """Raise Malformed for the place ``line``, ``column`` of the text that begins at ``at``."""
        before = self.body[:at]
        if line == 1:
            column += len(before[before.rfind(b"\n") + 1 :].decode(errors="replace"))
        line += before.count(b"\n")
        raise Malformed("body_not_json", f"The body is not JSON (line {line}, column {column}).")

    def _read(self) -> int:
        """Collect all marks; how many brackets and texts are open at the end."""
        at = depth = 0
        is_open = False
        for codes, outside in chunks(self.body):
            depths = np.cumsum(_DELTAS[codes] * outside, dtype=np.int64) + depth
            is_mark = ((codes == _COMMA) | (codes == _COLON)) & outside
            for level in _LEVELS:
                self._marks[level].append(np.flatnonzero(is_mark & (depths == level)) + at)
            depth, is_open, at = int(depths[-1]), not outside[-1], at + len(codes)
            if depths.min() < 0:
                self.refuse_damaged(len(self.body))
        return depth + is_open

    def _parts(self, span: Span) -> Marks:
        """Start and end of what lies between an object's or list's commas; nothing if it is empty."""
        closing = {"[": b"]", "{": b"}"}.get(self.kind(span))
        if closing is None or span.end - span.start < 2 or self.body[span.end - 1 : span.end] != closing:
            self.refuse_damaged(span.start)
        marks = self._between(span.start, span.end, span.level + 1)
        commas = marks[self._codes(marks) == _COMMA]
        if not len(commas) and not self.body[span.start + 1 : span.end - 1].strip(_SPACE):
            return _none().reshape(0, 2)
        starts = np.concatenate([[span.start + 1], commas + 1])
        ends = np.concatenate([commas, [span.end - 1]])
        return np.stack([starts, ends], axis=1)

    def _between(self, start: int, end: int, level: int) -> Marks:
        marks = self._at[level]
        found: Marks = marks[np.searchsorted(marks, start) : np.searchsorted(marks, end)]
        return found

    def _codes(self, marks: Marks) -> Any:
        return np.frombuffer(self.body, dtype=np.uint8)[marks]

    def _name(self, start: int, end: int) -> str:
        if end - start > _LONGEST_NAME_BYTES:
            return f"\0{start}"  # no name that anybody knows, and another one each time
        try:
            name = orjson.loads(self.body[start:end])
        except orjson.JSONDecodeError:
            name = None
        if not isinstance(name, str):
            self.refuse_damaged(start)
        return name

    def _span(self, start: int, end: int, level: int) -> Span:
        body = self.body
        while start < end and body[start] in _SPACE:
            start += 1
        while start < end and body[end - 1] in _SPACE:
            end -= 1
        return Span(start, end, level)


def _none() -> Marks:
    return np.zeros(0, dtype=np.int64)
