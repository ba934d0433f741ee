"""Reads Thrift's compact protocol, field by field, without trust: no length is believed beyond the bytes there are.

As the specification of Thrift describes it (doc/specs/thrift-compact-protocol.md of the project).
"""

from collections.abc import Iterator

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
_DEEPEST = 32
_LONGEST_VARINT = 10
_LARGEST_NUMBER = 2**15 - 1
_VARINTS = frozenset({I16, I32, I64})
_FIXED = {TRUE: 0, FALSE: 0, BYTE: 1, DOUBLE: 8}
"""Bytes of the values that have as many always."""
_IN_HEAD = frozenset({TRUE, FALSE})
"""Of a field; a boolean's head is its value."""


class Damaged(Exception):
    """The bytes are not what they should be."""


class CompactReader:
    """A cursor over ``data``. Every method raises Damaged where the bytes end or make no sense."""

    def __init__(self, data: memoryview | bytes, at: int = 0) -> None:
        self._data = data
        self.at = at

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and type of each field of the struct that begins here; the caller reads or skips each value."""
        number, seen = 0, set[int]()
        while head := self._byte():
            delta = head >> 4
            number = number + delta if delta else self.integer()
            if not 0 < number <= _LARGEST_NUMBER or number in seen:
                raise Damaged  # other readers cut such a number, or take one of two values, and each as it likes
            seen.add(number)
            yield number, head & 15

    def integer(self) -> int:
        """A signed integer of up to 64 bits."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def integer32(self) -> int:
        """A signed integer of up to 32 bits; others would cut a longer one down to them."""
        value = self.integer()
        if not -(2**31) <= value < 2**31:
            raise Damaged
        return value

    def elements(self) -> tuple[int, int]:
        """Count and type of the elements of the list that begins here."""
        head = self._byte()
        count = head >> 4
        if count == 15:
            count = self._varint()
        if count > len(self._data) - self.at:
            raise Damaged
        return count, head & 15

    def skip(self, kind: int) -> None:
        """Pass over a value."""
        try:
            self.at = _past(self._data, self.at, kind, 0)
        except IndexError:
            raise Damaged from None
        if self.at > len(self._data):
            raise Damaged

    def _varint(self) -> int:
        value = 0
        for place in range(_LONGEST_VARINT):
            byte = self._byte()
            value |= (byte & 127) << (7 * place)
            if byte < 128 and value < 2**64:
                return value
        raise Damaged

    def _byte(self) -> int:
        if self.at >= len(self._data):
            raise Damaged
        self.at += 1
        return self._data[self.at - 1]


def _past(data: memoryview | bytes, at: int, kind: int, depth: int) -> int:
    """Where the value at ``at`` ends; footers have millions, so this is written for speed. IndexError past the data."""
    if kind in _VARINTS:
        while data[at] > 127:
            at += 1
        return at + 1
    if kind == BINARY:
        length, at = _length(data, at)
        return at + length
    if kind == STRUCT:
        return _past_struct(data, at, depth + 1)
    if kind in (LIST, SET):
        return _past_list(data, at, depth + 1)
    if kind == MAP:
        return _past_map(data, at, depth + 1)
    if kind not in _FIXED:
        raise Damaged
    return at + _FIXED[kind]


def _past_struct(data: memoryview | bytes, at: int, depth: int) -> int:
    if depth > _DEEPEST:
        raise Damaged
    while head := data[at]:
        at += 1
        if head < 16:
            at = _past(data, at, I16, depth)
        kind = head & 15
        if kind in _VARINTS:
            while data[at] > 127:
                at += 1
            at += 1
        elif kind not in _IN_HEAD:  # a kind of 0 with a number is no end here and one for others: `_past` refuses it
            at = _past(data, at, kind, depth)
    return at + 1


def _past_list(data: memoryview | bytes, at: int, depth: int) -> int:
    head = data[at]
    count, at = (head >> 4, at + 1) if head < 240 else _length(data, at + 1)
    return _past_elements(data, at, count, (head & 15,), depth)


def _past_map(data: memoryview | bytes, at: int, depth: int) -> int:
    count, at = _length(data, at)
    if not count:
        return at
    return _past_elements(data, at + 1, count, (data[at] >> 4, data[at] & 15), depth)


def _past_elements(data: memoryview | bytes, at: int, count: int, kinds: tuple[int, ...], depth: int) -> int:
    """``count`` times a value of each kind. In a container, booleans are a byte each."""
    if depth > _DEEPEST or count > len(data) - at:
        raise Damaged
    for _ in range(count):
        for kind in kinds:
            at = at + 1 if kind in (TRUE, FALSE) else _past(data, at, kind, depth)
    return at


def _length(data: memoryview | bytes, at: int) -> tuple[int, int]:
    """Of what follows it, and where that begins."""
    value = place = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << place
        place += 7
        if byte < 128:
            return value, at
        if place > 63:
            raise Damaged
