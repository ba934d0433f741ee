"""What a file is, by its content. Names lie: a binary file called .csv must not be read as text."""

import re
import zipfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tidemill.kit.errors import Unsupported
from tidemill.reading.damage import decoding
from tidemill.schemas.datasets import FileFormat

_HEAD_BYTES = 64 * 2**10
_FORMATS_READ = "CSV, TSV and other delimited text, JSON, NDJSON, Parquet, Arrow (IPC, Feather) and Excel (.xlsx)"
_UTF_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_OTHER_BINARY = {
    b"%PDF": "a PDF document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"SQLite format 3": "an SQLite database",
    b"\xd0\xcf\x11\xe0": "an old Excel file (.xls) or a locked one; save it as .xlsx or CSV without a password",
    b"BZh": "compressed with bzip2; use gzip or zstd",
    b"\xfd7zXZ": "compressed with xz; use gzip or zstd",
    b"FEA1": "a Feather file of version 1; write it again with version 2",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"\x89HDF": "an HDF5 file",
    b"\x80\x04\x95": "a Python pickle, which is never opened",
    b"\x80\x05\x95": "a Python pickle, which is never opened",
}
_READ_ELSEWHERE = {
    b"PK\x03\x04": "a zip archive or an Excel file",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
}
"""What becomes a dataset, or may hold what does, but is no text."""
_ARRAY = re.compile(r'\[\s*([{\[\]"]|$|-?\d[\d.eE+-]*\s*,)')
_PRINTED_OBJECT = re.compile(r"\{\s*'[^\r\n]*\}[ \t]*(?:[\r\n]|$)")
_PAGE = re.compile(r"<(!doctype|html|\?xml)\b", re.IGNORECASE)


class Compression(StrEnum):
    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


@dataclass(frozen=True)
class Head:
    """The first bytes of a file."""

    data: bytes

    @classmethod
    def of(cls, path: Path) -> "Head":
        with path.open("rb") as stream:
            return cls(stream.read(_HEAD_BYTES))


def detect_compression(head: Head) -> Compression:
    if head.data.startswith(b"\x1f\x8b"):
        return Compression.GZIP
    if head.data.startswith(b"\x28\xb5\x2f\xfd"):
        return Compression.ZSTD
    return Compression.NONE


def detect_binary_format(path: Path, head: Head) -> FileFormat | None:
    """The format of a binary file we read, None if it may be text. Raises Unsupported for any other binary file."""
    data = head.data
    if data.startswith(b"PAR1"):
        return FileFormat.PARQUET
    if data.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return FileFormat.ARROW
    if data.startswith(b"PK\x03\x04"):
        return _of_zip(path)
    refuse_binary(head)
    return None


def refuse_binary(head: Head) -> None:
    """Raise Unsupported for what cannot be text."""
    data = head.data
    for magic, description in _READ_ELSEWHERE.items():
        if data.startswith(magic) and _has_control_bytes(data):
            raise Unsupported("format_unsupported", f"The file is {description}, where a text is expected.")
    for magic, description in _OTHER_BINARY.items():
        if data.startswith(magic) and _has_control_bytes(data):
            raise Unsupported("format_unsupported", f"The file is {description}. Read are {_FORMATS_READ}.")
    if not data.startswith(_UTF_BOMS) and not looks_like_utf16(data) and _has_control_bytes(data):
        raise Unsupported("file_binary", f"The file holds binary data, not text. Read are {_FORMATS_READ}.")


def looks_like_utf16(data: bytes) -> bool:
    """Text in UTF-16 without a byte order mark: nearly every other byte is zero."""
    sample = data[: len(data) // 2 * 2]
    if len(sample) < 4:
        return False
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    half = len(sample) / 2
    return max(even, odd) > 0.7 * half and min(even, odd) < 0.05 * half


def detect_text_format(beginning: str) -> FileFormat:
    """CSV, JSON or NDJSON by the first characters of the decoded text.

    Raises Unsupported for HTML, XML, and objects that are nearly JSON.
    """
    text = beginning.lstrip()
    if _PAGE.match(text):
        raise Unsupported("format_unsupported", f"The file is a page of HTML or XML. Read are {_FORMATS_READ}.")
    if text.startswith("["):
        # An array of anything else than objects is JSON too, though it is refused then.
        return FileFormat.JSON if _ARRAY.match(text) else FileFormat.CSV
    if _PRINTED_OBJECT.match(text):
        detail = "The file holds objects with single quotes, as Python prints them; in JSON they are double."
        raise Unsupported("format_unsupported", detail)
    if text.startswith("{"):
        return FileFormat.NDJSON if text[1:].lstrip()[:1] in ('"', "}") else FileFormat.CSV
    return FileFormat.CSV


def _has_control_bytes(data: bytes) -> bool:
    """Control characters (ASCII below 32 but tab, line ends, form feed and NUL in text) make up real binary data."""
    rare = sum(data.count(bytes([code])) for code in (*range(9), 11, *range(14, 32)) if code != 0x1A)
    return rare > max(2, len(data) // 100)


def _of_zip(path: Path) -> FileFormat:
    with decoding("zip archive or Excel"), zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    if "xl/workbook.xml" in names:
        return FileFormat.EXCEL
    raise Unsupported("format_unsupported", f"The file is a zip archive, not an Excel file. Read are {_FORMATS_READ}.")
