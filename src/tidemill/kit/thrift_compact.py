"""Reads Thrift's compact protocol, field by field, without trust: no length is believed beyond the bytes there are.

As the specification of Thrift describes it (doc/specs/thrift-compact-protocol.md of the project).
"""

from collections.abc import Iterator

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
_DEEPEST = 32
_LONGEST_VARINT = 10


class Damaged(Exception):
    """The bytes are not what they should be."""


class CompactReader:
    """A cursor over ``data``. Every method raises Damaged where the bytes end or make no sense."""

    def __init__(self, data: memoryview | bytes, at: int = 0) -> None:
        self._data = data
        self.at = at

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and type of each field of the struct that begins here; the caller reads or skips each value."""
        number = 0
        while head := self._byte():
            delta = head >> 4
            number = number + delta if delta else self.integer()
            yield number, head & 15

    def integer(self) -> int:
        """A signed integer of any width."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def elements(self) -> tuple[int, int]:
        """Count and type of the elements of the list that begins here."""
        head = self._byte()
        count = head >> 4
        if count == 15:
            count = self._varint()
        if count > len(self._data) - self.at:
            raise Damaged
        return count, head & 15

    def skip(self, kind: int, depth: int = 0) -> None:
        """Pass over a value."""
        if depth > _DEEPEST:
            raise Damaged
        if kind in (TRUE, FALSE):
            return
        if kind == BYTE:
            self._move(1)
        elif kind in (I16, I32, I64):
            self._varint()
        elif kind == DOUBLE:
            self._move(8)
        elif kind == BINARY:
            self._move(self._varint())
        else:
            self._skip_container(kind, depth + 1)

    def _skip_container(self, kind: int, depth: int) -> None:
        if kind == STRUCT:
            for _, each in self.fields():
                self.skip(each, depth)
        elif kind in (LIST, SET):
            count, each = self.elements()
            for _ in range(count):
                self.skip_element(each, depth)
        elif kind == MAP:
            self._skip_map(depth)
        else:
            raise Damaged

    def skip_element(self, kind: int, depth: int = 0) -> None:
        """Pass over an element of a list: there, booleans are a byte each."""
        if kind in (TRUE, FALSE):
            self._move(1)
        else:
            self.skip(kind, depth)

    def _skip_map(self, depth: int) -> None:
        count = self._varint()
        if count > len(self._data) - self.at:
            raise Damaged
        kinds = self._byte() if count else 0
        for _ in range(count):
            self.skip_element(kinds >> 4, depth)
            self.skip_element(kinds & 15, depth)

    def _varint(self) -> int:
        value = 0
        for place in range(_LONGEST_VARINT):
            byte = self._byte()
            value |= (byte & 127) << (7 * place)
            if byte < 128:
                return value
        raise Damaged

    def _byte(self) -> int:
        if self.at >= len(self._data):
            raise Damaged
        self.at += 1
        return self._data[self.at - 1]

    def _move(self, count: int) -> None:
        if count > len(self._data) - self.at:
            raise Damaged
        self.at += count
