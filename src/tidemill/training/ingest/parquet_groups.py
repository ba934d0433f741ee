"""How much a row group of a Parquet file takes to read, from the headers of its pages and from its dictionaries."""

import os
from functools import cached_property
from typing import IO, Any

import pyarrow.compute as pc

from tidemill.kit.errors import TooLarge
from tidemill.kit.parquet_pages import DICTIONARY_ENCODINGS, Page, read_pages

_MOST_PAGES = 10_000_000
_PAGE_COPIES = 4
"""Of a page: packed, unpacked, as an array, and in part as a batch."""
_LISTED_BYTES = 16
"""Of a value in a list, with its levels."""


class RowGroup:
    """``coded``: the file, opened so that texts stay in their dictionaries."""

    def __init__(self, stream: IO[bytes], coded: Any, number: int) -> None:
        self._stream = stream
        self._coded = coded
        self._number = number
        self._metadata = coded.metadata.row_group(number)

    @cached_property
    def _pages(self) -> list[list[Page]]:
        return [self._read(self._metadata.column(index)) for index in range(self._metadata.num_columns)]

    def check_pages(self, free_bytes: int) -> None:
        """Raises TooLarge for a page that does not fit into memory."""
        for index, pages in enumerate(self._pages):
            leaf = self._coded.schema.column(index)
            listed = _LISTED_BYTES if leaf.max_repetition_level else 0
            largest = max((max(page.size_bytes, listed * page.value_count) for page in pages), default=0)
            if _PAGE_COPIES * largest > free_bytes:
                raise TooLarge("page_too_large", f"A page of the column {leaf.path} does not fit into memory.")

    def dense_row_bytes(self) -> int:
        """Of a row where its pages are most densely filled."""
        return sum(
            max((page.size_bytes // max(1, page.value_count) for page in pages if not page.is_dictionary), default=0)
            for pages in self._pages
        )

    def longest_row_bytes(self) -> int:
        """Of the entries of its dictionaries, which any row may have, the longest ones together."""
        names = [self._coded.schema.column(index).path for index in self._with_dictionary()]
        batches = self._coded.iter_batches(batch_size=1, row_groups=[self._number], columns=names, use_threads=False)
        first = next(batches, None) if names else None
        columns = {} if first is None else dict(zip(first.schema.names, first.columns, strict=True))
        known = {name: _longest(columns[name]) for name in names if name in columns}  # a nested one is refused later
        return sum(self._longest(index, known) for index in self._with_dictionary())

    def _longest(self, index: int, known: dict[str, int]) -> int:
        """By its size, where the first page does not use the dictionary and so did not show it."""
        pages, path = self._pages[index], self._coded.schema.column(index).path
        data = [page for page in pages if not page.is_dictionary]
        if path in known and data[0].encoding in DICTIONARY_ENCODINGS and path not in self._wrapped:
            return known[path]
        return max((page.size_bytes for page in pages if page.is_dictionary), default=0)

    @cached_property
    def _wrapped(self) -> frozenset[str]:
        """Columns whose logical type the library wraps: it shows their first row, and not their dictionary."""
        return frozenset(field.name for field in self._coded.schema_arrow if hasattr(field.type, "storage_type"))

    def _with_dictionary(self) -> list[int]:
        """Leaves of texts whose data is, in some page, an entry of a dictionary."""
        return [
            index
            for index, pages in enumerate(self._pages)
            if self._coded.schema.column(index).physical_type == "BYTE_ARRAY"
            and any(page.encoding in DICTIONARY_ENCODINGS for page in pages if not page.is_dictionary)
        ]

    def _read(self, chunk: Any) -> list[Page]:
        def read(at: int, size_bytes: int) -> bytes:
            return os.pread(self._stream.fileno(), size_bytes, at)

        offsets = [chunk.data_page_offset, chunk.dictionary_page_offset if chunk.has_dictionary_page else None]
        start = min((offset for offset in offsets if offset), default=-1)
        return read_pages(read, start, chunk.total_compressed_size, _MOST_PAGES)


def texts_of(file: Any) -> list[str]:
    """Paths of the columns of texts."""
    leaves = [file.schema.column(index) for index in range(len(file.schema))]
    return [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]


def _longest(column: Any) -> int:
    """Of a column of texts; those of a logical type such as JSON come wrapped."""
    texts = getattr(column, "storage", column)
    return int(pc.max(pc.binary_length(getattr(texts, "dictionary", texts))).as_py() or 0)
