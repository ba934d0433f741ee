"""Datasets on the wire."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from tidemill.kit.names import Name
from tidemill.schemas.base import QueryParameters, Reply, Schema

MAX_COLUMNS = 2000
"""Most columns of a dataset."""
MAX_ROW_PROBLEMS = 100
"""Most single places that an error names; the rest is counted."""

Quote = Literal['"', "'", "none"]
_DeclaredType = Annotated[str, WithJsonSchema({"type": "string", "pattern": "^[^\\u0000]+=[^\\u0000]*$"})]
ColumnType = Literal["boolean", "integer", "float", "string", "date", "datetime"]


class FileFormat(StrEnum):
    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"
    PARQUET = "parquet"
    ARROW = "arrow"
    EXCEL = "excel"


class IngestOptions(Schema):
    """How to read a file. Everything absent is detected from the content."""

    format: FileFormat | None = None
    """``csv`` stands for every delimited text, TSV included."""
    delimiter: Annotated[str | None, Field(min_length=1, max_length=1)] = None
    """One character between the fields of a row."""
    quote: Quote | None = None
    """What surrounds fields that hold delimiters; ``none`` if quotes are characters as any other."""
    encoding: Annotated[str | None, Field(max_length=40)] = None
    """Such as ``utf-8``, ``utf-16`` or ``cp1252``."""
    has_header: bool | None = None
    """Whether the first row names the columns; else they are ``column_1``, ``column_2``..."""
    decimal: Literal[".", ","] = "."
    """The decimal mark of numbers in text files."""
    sheet: Annotated[str | None, Field(max_length=64)] = None
    """Excel: name of the sheet; by default the first one that holds cells."""
    types: Annotated[dict[str, str], Field(max_length=MAX_COLUMNS)] = Field(default_factory=dict)
    """Declared types by column: ``integer``, or ``date:%d.%m.%Y`` with the format of the values."""
    missing: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=100)] = Field(default_factory=list)
    """Texts that mean a missing value, besides the usual ones."""
    default_missing: bool = True
    """Whether unquoted ``NA``, ``N/A``, ``#N/A``, ``NaN``, ``nan``, ``null`` and ``NULL`` mean a missing value too."""


class VersionQuery(QueryParameters):
    """Options of an upload as query parameters."""

    filename: Annotated[str, Field(min_length=1, max_length=255)] = "upload"
    """The file's name, for people and for the download; what the file is, is read from its content."""
    format: FileFormat | None = None
    delimiter: Annotated[str | None, Field(min_length=1, max_length=1)] = None
    quote: Quote | None = None
    encoding: Annotated[str | None, Field(max_length=40)] = None
    has_header: bool | None = None
    decimal: Literal[".", ","] = "."
    sheet: Annotated[str | None, Field(max_length=64)] = None
    type: Annotated[list[_DeclaredType], Field(max_length=MAX_COLUMNS)] = Field(default_factory=list)
    """``column=type``, repeated; the type as in `IngestOptions.types`."""
    missing: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=100)] = Field(default_factory=list)
    """A text that means a missing value, repeated."""
    default_missing: bool = True
    new_contract: bool = False
    """Accept columns and types that break the dataset's contract; they become the new contract."""


class Column(Reply):
    name: str
    type: ColumnType
    nullable: bool
    """Whether any value is missing."""
    all_missing: bool = False
    """No value at all, so the type is only a guess."""
    zoned: bool | None = None
    """Of times: whether they had a zone and are kept in UTC, or had none and are kept as they were."""


class TableSchema(Reply):
    columns: list[Column]


class Part(Reply):
    """One Parquet file of a version."""

    key: str
    sha256: str
    size_bytes: int
    row_count: int


class VersionSummary(Reply):
    id: str
    dataset: Name
    number: int
    sha256: str
    """Of the raw bytes."""
    filename: str
    size_bytes: int
    row_count: int
    column_count: int
    created_at: datetime
    created_by: str


class Version(VersionSummary):
    table_schema: TableSchema
    profile: dict[str, Any]
    """Per column: missing, distinct, quantiles, histogram, most frequent values."""
    source: dict[str, Any]
    """How the file was read: format, encoding, delimiter, header, options."""
    warnings: list[str]
    parts: list[Part]
    pinned_by: list[str] = Field(default_factory=list)
    """What depends on this version and keeps it from being deleted; at most 100."""


class Dataset(Reply):
    id: str
    name: Name
    version_count: int
    latest_version: int
    row_count: int
    """Of the latest version."""
    size_bytes: int
    """Of the latest version's raw file."""
    contract: TableSchema
    """What a new version must have: these columns, of these types; missing values only where nullable."""
    created_at: datetime
    updated_at: datetime


class VersionAccepted(Reply):
    """An upload that was taken in: a version in the making, or the version that holds the same bytes already."""

    version_id: str
    dataset: Name
    sha256: str
    size_bytes: int
    state: Literal["pending", "ready"]
    number: int | None = None
    """Set once the version is ready."""
    job_id: str | None = None


class ColumnChange(Reply):
    name: str
    change: Literal["added", "removed", "changed"]
    before: Column | None
    after: Column | None


class FigureChange(Reply):
    """One figure of a column's profile in both versions."""

    column: str
    figure: str
    before: Any
    after: Any


class VersionDiff(Reply):
    dataset: Name
    before: int
    after: int
    row_count_before: int
    row_count_after: int
    columns: list[ColumnChange]
    """Columns added, removed, or with another type or nullability."""
    figures: list[FigureChange]
    """Figures of the profiles that differ."""
