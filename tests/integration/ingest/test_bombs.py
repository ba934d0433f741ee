"""Small files that claim or unpack to very much: refused by what is too large, before it is unpacked."""

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
import zstandard

from tests.integration.ingest.ingesting import Ingest
from tidemill.kit.errors import TooLarge
from tidemill.kit.parquet_pages import check_footer, check_schema, read_pages
from tidemill.kit.thrift_compact import Damaged
from tidemill.reading.text import decompress, most_unpacked_bytes

_MIB = 2**20


def _dictionary(size_bytes: int, rows: int = 300) -> pa.Table:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * size_bytes]))
    return pa.table({"id": range(rows), "text": texts})


def _views(size_bytes: int) -> pa.Table:
    """Every row looks at the same bytes."""
    bytes_of_all = pa.py_buffer(b"x" * size_bytes)
    view = struct.pack("<i4sii", size_bytes, b"xxxx", 0, 0)
    array = pa.Array.from_buffers(pa.string_view(), 300, [None, pa.py_buffer(view * 300), bytes_of_all])
    return pa.table({"id": range(300), "text": array})


def _parquet(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", **options)
    return out.getvalue()


def _arrow(table: pa.Table, new: Callable[..., Any] = pa.ipc.new_file) -> bytes:
    out = io.BytesIO()
    with new(out, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return out.getvalue()


def _null_rows(count: int) -> bytes:
    """A batch of nothing but nulls takes no bytes, however many rows it says it has."""
    body = bytearray(_arrow(pa.table({"a": pa.nulls(77_777)}), pa.ipc.new_stream))
    places = [at for at in range(len(body) - 8) if body[at : at + 8] == struct.pack("<q", 77_777)]
    for at in places:
        body[at : at + 8] = struct.pack("<q", count)
    return bytes(body)


def _nested(depth: int) -> pa.Table:
    kind = pa.int32()
    for _ in range(depth):
        kind = pa.list_(kind)
    return pa.table({"a": pa.array([None], kind)})


def _workbook(member: str, size_bytes: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"<workbook/>")
        archive.writestr(member, b"<a/>" * (size_bytes // 4))
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (lambda: _parquet(_dictionary(20 * _MIB)), "row_too_long"),
        (lambda: _parquet(_dictionary(20 * _MIB), store_schema=False), "row_too_long"),
        (lambda: _parquet(pa.table({"a": [[None] * 30_000_000]})), "page_too_large"),
        (lambda: _arrow(_dictionary(20 * _MIB)), "row_too_long"),
        (lambda: _arrow(_views(20 * _MIB)), "row_too_long"),
        (lambda: _parquet(pa.table({"a": ["0" * (110 * _MIB)]}), use_dictionary=False), "page_too_large"),
        (lambda: _arrow(pa.table({"a": ["0" * (250 * _MIB)]})), "batch_too_large"),
        (lambda: _arrow(pa.table({"a": ["0" * (250 * _MIB)]}), pa.ipc.new_stream), "batch_too_large"),
        (lambda: _null_rows(2**40), "too_many_rows"),
        (lambda: _parquet(_nested(40)), "file_damaged"),
        (lambda: _workbook("xl/styles.xml", 40 * _MIB), "file_too_large"),
        (lambda: _workbook("xl/sharedStrings.xml", 90 * _MIB), "workbook_texts_too_large"),
        (lambda: _workbook("xl/worksheets/sheet1.xml", 120 * _MIB), "file_too_large"),
    ],
    ids=[
        "parquet: dictionary",
        "parquet: dictionary by the encoding alone",
        "parquet: list of one run",
        "arrow: dictionary",
        "arrow: views of one text",
        "parquet: page",
        "arrow: batch",
        "arrow: batch of a stream",
        "arrow: rows without bytes",
        "parquet: depth",
        "excel: styles",
        "excel: texts",
        "excel: sheet",
    ],
)
def test_what_is_too_large_is_refused_before_it_is_unpacked(
    content: Callable[[], bytes], code: str, ingest: Ingest, tmp_path: Path
) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(content())
    assert path.stat().st_size < 2 * _MIB
    error = ingest.refused(path)
    assert error.code == code, error.detail
    assert [problem.pointer for problem in error.problems] == (["row 1, column text"] if code == "row_too_long" else [])


def test_what_grows_a_thousandfold_is_stopped_at_a_gibibyte() -> None:
    limit_bytes = 200 * 2**30
    assert most_unpacked_bytes(1_000, limit_bytes) == 2**30
    assert most_unpacked_bytes(2**30, limit_bytes) == limit_bytes
    assert most_unpacked_bytes(100 * _MIB, limit_bytes) < 1000 * 100 * _MIB  # what gzip makes of zeros


def test_a_bomb_of_several_parts_is_stopped_at_the_limit(tmp_path: Path) -> None:
    lines = b"a,b\n" * _MIB
    for name, part in (("gzip", gzip.compress(lines)), ("zstd", zstandard.ZstdCompressor().compress(lines))):
        path = tmp_path / name
        path.write_bytes(part * 4)
        with pytest.raises(TooLarge) as refused:
            decompress(path, tmp_path, 10 * _MIB)
        assert refused.value.code == "file_too_large"
        assert (tmp_path / "decompressed").stat().st_size <= 10 * _MIB


def test_damaged_footers_and_pages_are_told_whatever_is_in_them() -> None:
    body = _parquet(pa.table({"a": range(1000), "b": ["x"] * 1000}))
    size = check_footer(body[-8:], 10**6)
    footer = body[-size:-8]
    chunk = pq.ParquetFile(pa.BufferReader(body)).metadata.row_group(0).column(0)
    start, length = chunk.dictionary_page_offset, chunk.total_compressed_size
    pages = read_pages(lambda at, most: body[at : at + most], start, length, 100)
    assert sum(page.value_count for page in pages if not page.is_dictionary) == 1000
    for at in range(len(footer)):
        for damaged in (footer[:at], bytes([*footer[:at], footer[at] ^ 0xFF, *footer[at + 1 :]])):
            try:
                check_schema(damaged)
            except Damaged:
                continue
    for at in range(start, start + 40):
        wrong = bytes([*body[:at], body[at] ^ 0xFF, *body[at + 1 :]])
        try:
            read_pages(lambda at, most, wrong=wrong: wrong[at : at + most], start, length, 100)
        except (Damaged, OverflowError):
            continue


def _fields(*numbered: tuple[int, int, bytes]) -> bytes:
    """A struct of Thrift's compact protocol: (number, type, value) each, with its number in full."""
    return b"".join(bytes([kind]) + _varint(number << 1) + value for number, kind, value in numbered) + b"\0"


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


def _number(value: int) -> bytes:
    return _varint(value << 1)


_HONEST = ((1, 5, _number(0)), (2, 5, _number(64)), (3, 5, _number(0)))
_MANY, _FEW = (_fields((1, 5, _number(count)), (2, 5, _number(0)), (4, 5, _number(0))) for count in (10**9, 1))


@pytest.mark.parametrize(
    "header",
    [
        _fields(*_HONEST, (5, 12, _MANY), (8, 12, _FEW)),
        _fields(*_HONEST, (8, 12, _FEW)),
        _fields(*_HONEST, (5, 12, _MANY), (5, 12, _FEW)),
        _fields(*_HONEST, (5, 12, _FEW), (65536 + 5, 12, _MANY)),
        _fields(*_HONEST, (5, 12, _fields((1, 5, _number(2**32 + 1)), (2, 5, _number(0))))),
        _fields(*_HONEST, (5, 12, _fields((1, 5, _number(1)), (1, 5, _number(10**9)), (2, 5, _number(0))))),
        _fields(*_HONEST[:2], (5, 12, _FEW)),
        _fields((1, 5, _number(9)), *_HONEST[1:], (5, 12, _FEW)),
    ],
    ids=range(8),
)
def test_a_page_is_judged_by_the_details_that_decoders_read_or_not_at_all(header: bytes) -> None:
    honest = _fields(*_HONEST, (5, 12, _MANY))
    pages = read_pages(lambda at, most: honest[at : at + most], 0, len(honest), 9)
    assert [page.value_count for page in pages] == [10**9]
    with pytest.raises(Damaged):
        read_pages(lambda at, most: header[at : at + most], 0, len(header), 9)


@pytest.mark.parametrize("kind", [0, 13, 14, 15])
@pytest.mark.parametrize("form", ["field of a struct", "numbered in full", "list", "map"])
def test_kinds_that_readers_pass_over_differently_are_damage(kind: int, form: str) -> None:
    """Whoever takes one for an end and who does not read another size of the page behind it."""
    skipped = {
        "field of a struct": (12, bytes([16 | kind]) + b"\1\0"),
        "numbered in full": (12, bytes([kind]) + _number(1) + b"\1\0") if kind else (12, b"\x20\1\0"),
        "list": (9, bytes([16 | kind]) + b"\1"),
        "map": (11, bytes([1, kind << 4 | 5]) + b"\1\1"),
    }[form]
    header = _fields(*_HONEST, (5, 12, _FEW), (9, *skipped))
    with pytest.raises(Damaged):
        read_pages(lambda at, most: header[at : at + most], 0, len(header), 9)


def test_a_second_schema_behind_the_first_is_damage() -> None:
    body = _parquet(pa.table({"a": range(10)}))
    footer = body[-check_footer(body[-8:], 10**6) : -8]
    check_schema(footer)
    with pytest.raises(Damaged):
        check_schema(footer[:-1] + bytes([9]) + _varint(2 << 1) + b"\x0c" + b"\0")


def test_a_footer_beyond_the_limit_is_refused() -> None:
    with pytest.raises(OverflowError):
        check_footer(struct.pack("<I", 2**31) + b"PAR1", 2**20)
    with pytest.raises(Damaged):
        check_footer(b"PAR1", 2**20)
