"""What goes into an ingest and what comes out, and what readers of files hand on."""

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from tidemill.kit.errors import Invalid
from tidemill.kit.limits import MAX_ROW_BYTES
from tidemill.kit.sizes import format_size
from tidemill.schemas.base import Schema
from tidemill.schemas.datasets import MAX_ROW_PROBLEMS, ColumnType, IngestOptions, TableSchema

_LEAST_FREE_BYTES = 128 * 2**20
_PROFILE_LIBRARY_BYTES = 24 * 2**20
_LEAST_PROFILE_BYTES = 32 * 2**20
_TIGHT_SHARE = 0.7
FIRST_DAY, DAYS_END = -719_162, 2_932_897
"""Days since 1970 of 0001-01-01 and 10000-01-01: the calendar that Python, SQL and people share."""
Mask = NDArray[np.bool_]
Codes = NDArray[np.int8]


class Kind(IntEnum):
    """What a value looks like; every value is of exactly one kind."""

    MISSING = 0
    INTEGER = 1
    FLOAT = 2
    INFINITE = 3
    CODE = 4
    """Digits whose form would be lost as a number: leading zeros, or a long number with a plus sign."""
    BIG_INTEGER = 5
    """Beyond 64 bits, or beyond what a float holds exactly in a column of floats."""
    BOOLEAN = 6
    DATE = 7
    DATETIME = 8
    ZONED = 9
    """Date and time with a zone or offset."""
    TEXT = 10
    FAR = 11
    """A date or time outside the years 1 to 9999."""


class IngestRequest(Schema):
    """Input of `entry.normalise`."""

    source: Path
    """The raw file."""
    filename: str
    """What the caller called it."""
    output: Path
    """An empty directory for the Parquet parts."""
    options: IngestOptions = Field(default_factory=IngestOptions)
    contract: TableSchema | None = None
    """What the columns must be; None if they are free."""
    decoded_limit_bytes: int = 200 * 2**30
    """Most bytes of a file once decompressed."""


@dataclass(frozen=True)
class Limits:
    """How much memory the stages may take: the limit of the whole process less what it takes before it reads a row."""

    memory_bytes: int
    threads: int
    taken_bytes: int = 0

    def __post_init__(self) -> None:
        if self.free_bytes < _LEAST_FREE_BYTES:
            least = self.taken_bytes + _LEAST_FREE_BYTES
            raise Invalid(
                "memory_limit_too_small",
                f"Files cannot be read in {format_size(self.memory_bytes)}; the worker's limit must be at least "
                f"{format_size(least)}.",
            )

    @property
    def block_bytes(self) -> int:
        """Text parsed at once. Ten to twenty blocks are alive at a time, as text, as columns and in queues."""
        return max(256 * 2**10, min(2 * 2**20, self.free_bytes // 288))

    @property
    def longest_row_bytes(self) -> int:
        return max(4 * 2**20, min(MAX_ROW_BYTES, self.free_bytes // 24))

    @property
    def group_bytes(self) -> int:
        """Columns gathered before a row group is written."""
        return max(4 * 2**20, min(64 * 2**20, self.free_bytes // 24))

    def profile_bytes(self, resident_bytes: int) -> int:
        """For the profile's queries, which spill to disk beyond it; the library takes some for itself."""
        left = self.memory_bytes - resident_bytes - _PROFILE_LIBRARY_BYTES
        return max(_LEAST_PROFILE_BYTES, min(2 * 2**30, left // 2))

    @property
    def free_bytes(self) -> int:
        """What is left beside the libraries themselves."""
        return self.memory_bytes - self.taken_bytes

    def is_tight(self, resident_bytes: int) -> bool:
        """Whether it is time to give back what is kept for reuse."""
        return resident_bytes - self.taken_bytes > _TIGHT_SHARE * self.free_bytes


@dataclass(frozen=True)
class Batch:
    """Some rows of a source.

    table: text columns, or typed columns where the format has types. first_index: of its first row, from 0, header not
    counted. quoted: per column which values were text in a format that tells text from numbers. read_share: how much
    of the file was read so far, 0 to 1.
    """

    table: pa.Table
    first_index: int
    quoted: Mapping[str, Mask] = field(default_factory=dict)
    read_share: float | None = None

    def column(self, name: str) -> Any:
        """One contiguous array; a column that these rows do not have is missing in all of them."""
        index = self.table.schema.get_field_index(name)
        if index < 0:
            return pa.nulls(self.table.num_rows, pa.string())
        column = self.table.column(index)
        combined = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined


class Source(Protocol):
    """A file that can be read several times, batch by batch, in bounded memory."""

    @property
    def names(self) -> Sequence[str]:
        """Columns known so far; complete after the first whole reading."""

    @property
    def warnings(self) -> Sequence[str]:
        """What was guessed about the file as a whole and may be wrong."""

    @property
    def typed(self) -> bool:
        """Whether the batches carry the format's own types."""

    def batches(self) -> Generator[Batch, None, None]:
        """All rows in order. Raises Invalid for what cannot be read."""

    def row_numbers(self, indices: Sequence[int]) -> dict[int, int]:
        """For rows by index, the number that an editor (text) or a spreadsheet shows, from 1."""

    def describe(self) -> dict[str, Any]:
        """How the file was read: format, encoding and so on."""


@dataclass(frozen=True)
class Plan:
    """How one column is to be read in this pass.

    declared: the caller says so; contract: the dataset's contract does. Then nothing may contradict it. format: of
    dates, as strptime takes it. zoned: whether times have zones; None if that is free. proven: an earlier pass saw that
    no narrower type holds every value.
    """

    type: ColumnType
    declared: bool = False
    contract: bool = False
    nullable: bool = True
    format: str | None = None
    zoned: bool | None = None
    proven: bool = False

    @property
    def fixed(self) -> bool:
        return self.declared or self.contract


@dataclass
class Evidence:
    """What the values of one column were, counted over all rows; of each kind the first rows' indices.

    longest_bytes, absent: of a column read as texts, the longest one and how many are missing. rounded: values that had
    more digits than their new type keeps.
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(Kind), dtype=np.int64))
    rows: dict[Kind, list[int]] = field(default_factory=dict)
    longest_bytes: int = 0
    absent: int = 0
    rounded: int = 0

    def add(self, codes: Codes, first_index: int, noted: Collection[Kind]) -> None:
        """Count ``codes`` and note the rows of the kinds ``noted``."""
        self.counts += np.bincount(codes, minlength=len(Kind))
        for kind in noted:
            known = self.rows.setdefault(kind, [])
            if len(known) < MAX_ROW_PROBLEMS and (found := np.flatnonzero(codes == kind)).size:
                known.extend(int(index) + first_index for index in found[: MAX_ROW_PROBLEMS - len(known)])

    def count(self, *kinds: Kind) -> int:
        return int(self.counts[list(kinds)].sum())

    @property
    def missing(self) -> int:
        return self.count(Kind.MISSING)

    @property
    def present(self) -> int:
        return int(self.counts.sum()) - self.missing
