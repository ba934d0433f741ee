"""What a Parquet file will take to decode, from its footer and the headers of its pages, before any page is unpacked.

A footer may say anything; a page is unpacked into what its own header says, which decoders hold it to. So the headers
are read, one after another, for the columns that are wanted. Field numbers are those of the format's parquet.thrift.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from tidemill.kit.thrift_compact import I32, LIST, STRUCT, CompactReader, Damaged

ReadAt = Callable[[int, int], bytes]
"""Bytes from an offset on, at most so many."""
_MAGIC = b"PAR1"
_HEADER_BYTES = (2**9, 2**16, 2**24)
TAIL_BYTES = 8
_MOST_SCHEMA_ELEMENTS = 100_000
_DEEPEST_SCHEMA = 32
_DATA, _INDEX, _DICTIONARY, _DATA_V2 = range(4)
_DETAILS = {_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}
"""The field of a page's header that tells more of each kind of page."""
_PLAIN, _PLAIN_DICTIONARY, _RLE, _BIT_PACKED, _DELTA_BINARY, _RLE_DICTIONARY, _STREAM_SPLIT = 0, 2, 3, 4, 5, 8, 9
DICTIONARY_ENCODINGS = frozenset({_PLAIN_DICTIONARY, _RLE_DICTIONARY})
DIRECT_ENCODINGS = frozenset(
    {_PLAIN, _PLAIN_DICTIONARY, _RLE, _BIT_PACKED, _DELTA_BINARY, _RLE_DICTIONARY, _STREAM_SPLIT}
)
"""Encodings whose values are no longer than the page, or than an entry of the dictionary. The others (DELTA_BYTE_ARRAY
and DELTA_LENGTH_BYTE_ARRAY) carry counts and lengths of their own that only a decoder sees."""


@dataclass(frozen=True, slots=True)
class Page:
    """``size_bytes``: once it is unpacked. ``encoding``: of its values, as parquet.thrift numbers them."""

    size_bytes: int
    value_count: int
    is_dictionary: bool
    encoding: int


def check_footer(tail: bytes, max_bytes: int) -> int:
    """The size of the footer, from the last eight bytes of a file. Raises Damaged; OverflowError past ``max_bytes``."""
    if len(tail) != TAIL_BYTES or tail[4:] != _MAGIC:
        raise Damaged
    size = int(struct.unpack("<I", tail[:4])[0])
    if size > max_bytes:
        raise OverflowError
    return size + TAIL_BYTES


def check_schema(footer: bytes) -> None:
    """Raises Damaged for a schema of more than 100,000 elements or 32 levels, which decoders build by recursion."""
    reader, found = CompactReader(footer), False
    for number, kind in reader.fields():  # to the end, as a second schema would be the one that decoders take
        if number == 2 and kind == LIST:
            _check_elements(reader)
            found = True
        else:
            reader.skip(kind)
    if not found:
        raise Damaged


def _check_elements(reader: CompactReader) -> None:
    count, kind = reader.elements()
    if kind != STRUCT or count > _MOST_SCHEMA_ELEMENTS:
        raise Damaged
    open_groups: list[int] = []
    for _ in range(count):
        while open_groups and open_groups[-1] == 0:
            open_groups.pop()
        if open_groups:
            open_groups[-1] -= 1
        children = _children(reader)
        if children:
            open_groups.append(children)
        if len(open_groups) > _DEEPEST_SCHEMA:
            raise Damaged


def _children(reader: CompactReader) -> int:
    children = 0
    for number, kind in reader.fields():
        if number == 5 and kind == I32:
            children = reader.integer32()
        else:
            reader.skip(kind)
    return children


def read_pages(read: ReadAt, start: int, size_bytes: int, max_pages: int) -> list[Page]:
    """The pages of the column chunk at ``start``. Raises Damaged, OverflowError beyond ``max_pages``."""
    end = start + size_bytes
    if start < 0 or size_bytes < 0:
        raise Damaged
    pages: list[Page] = []
    at = start
    while at < end:
        if len(pages) == max_pages:
            raise OverflowError
        page, header_bytes, packed_bytes = _page_at(read, at, end)
        pages.append(page)
        at += header_bytes + packed_bytes
    if at != end:
        raise Damaged
    return pages


def _page_at(read: ReadAt, at: int, end: int) -> tuple[Page, int, int]:
    """A header may hold a value of any length, as the smallest of its page; few do."""
    for most_bytes in _HEADER_BYTES:
        reader = CompactReader(read(at, min(most_bytes, end - at)))
        try:
            page, packed_bytes = _page(reader)
        except Damaged:
            if most_bytes == _HEADER_BYTES[-1]:
                raise
        else:
            return page, reader.at, packed_bytes
    raise Damaged


def _page(reader: CompactReader) -> tuple[Page, int]:
    """A page's header and how many bytes follow it."""
    numbers: dict[int, int] = {}
    details: dict[int, tuple[int, int]] = {}
    for number, kind in reader.fields():
        if number <= 3 and kind == I32:
            numbers[number] = reader.integer32()
        elif number in _DETAILS.values() and kind == STRUCT:
            details[number] = _details(reader, 4 if number == _DETAILS[_DATA_V2] else 2)
        else:
            reader.skip(kind)
    kind_of_page, size_bytes, packed_bytes = (numbers.get(field, -1) for field in (1, 2, 3))
    # Only the details of its own kind are a page's: whoever reads it looks at no others.
    count, encoding = details.pop(_DETAILS.get(kind_of_page, 0), (0 if kind_of_page == _INDEX else -1, _PLAIN))
    if details or min(size_bytes, packed_bytes, count) < 0:
        raise Damaged
    return Page(size_bytes, count, kind_of_page == _DICTIONARY, encoding), packed_bytes


def _details(reader: CompactReader, encoding_field: int) -> tuple[int, int]:
    """How many values a page has, and their encoding."""
    count, encoding = -1, _PLAIN
    for number, kind in reader.fields():
        if number == 1 and kind == I32:
            count = reader.integer32()
        elif number == encoding_field and kind == I32:
            encoding = reader.integer32()
        else:
            reader.skip(kind)
    return count, encoding
