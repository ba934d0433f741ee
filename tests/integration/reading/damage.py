"""Files of every format that is read, and ways to damage them."""

import datetime as dt
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from decimal import Decimal

import openpyxl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import zstandard

ROWS = [
    {"age": 17 + row, "hours": 1.5 * row, "town": f"T\u00e4{row}", "day": f"2024-02-{row + 1:02}", "ok": row % 2 == 0}
    for row in range(9)
]
CSV = "age,hours,town,day,ok\n" + "".join(
    ",".join('"a, ""b"""' if name == "town" else str(value) for name, value in row.items()) + "\n" for row in ROWS
)
Change = tuple[int, float, int, int]
"""Which way, where (0 to 1), with what byte, how many bytes."""


def _table() -> pa.Table:
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    more = {
        "when": pa.array(
            [dt.datetime(2024, 1, 1, hour, tzinfo=dt.UTC) for hour in range(9)], pa.timestamp("ns", "Europe/Berlin")
        ),
        "price": pa.array([Decimal("1.25")] * 8 + [None]),
        "kind": pa.array(["a", "b", None] * 3).dictionary_encode(),
        "lost": pa.nulls(9),
    }
    return pa.table(columns | more)


def _parquet(**options: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(_table(), out, **options)
    return out.getvalue()


def _arrow(opening: Callable[..., pa.ipc.RecordBatchStreamWriter]) -> bytes:
    out = io.BytesIO()
    with opening(out, _table().schema) as writer:
        writer.write_table(_table())
    return out.getvalue()


def _excel() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(list(ROWS[0]))
    for row in ROWS:
        sheet.append([dt.date(2024, 2, 29) if name == "day" else value for name, value in row.items()])
    sheet["F1"], sheet["F2"] = "sum", 2.5
    book.create_sheet("more").append(["x"])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def whole_files() -> dict[str, bytes]:
    """By name of the format."""
    ndjson = "".join(json.dumps(row) + "\n" for row in ROWS)
    return {
        "csv": CSV.encode(),
        "csv_utf16": CSV.encode("utf-16"),
        "csv_single": CSV.replace('"', "'").encode(),
        "json": json.dumps(ROWS, indent=1).encode(),
        "ndjson": ndjson.encode(),
        "gzip": gzip.compress(CSV.encode(), mtime=0),
        "zstd": zstandard.compress(ndjson.encode()),
        "parquet": _parquet(),
        "parquet_plain": _parquet(use_dictionary=False, compression="NONE", data_page_version="2.0"),
        "arrow_file": _arrow(pyarrow.ipc.new_file),
        "arrow_stream": _arrow(pyarrow.ipc.new_stream),
        "excel": _excel(),
    }


def damaged(content: bytes, changes: Sequence[Change]) -> bytes:
    """Bytes changed, cut, doubled, put in or taken out; of a zip archive within a member, so that it still opens."""
    for change in changes:
        content = _in_member(content, change) if content[:2] == b"PK" and change[0] % 4 else _changed(content, change)
    return content


def _changed(content: bytes, change: Change) -> bytes:
    way, where, byte, count = change
    at = int(where * len(content))
    head, piece, tail = content[:at], content[at : at + count], content[at + count :]
    ways = (
        head + bytes(value ^ (byte or 1) for value in piece[:1]) + piece[1:] + tail,
        head,
        head + piece + piece + tail,
        head + bytes([byte]) * count + piece + tail,
        head + tail,
        head + bytes([byte]) * len(piece) + tail,
        tail + head,
    )
    return ways[way % len(ways)]


def _in_member(content: bytes, change: Change) -> bytes:
    """The archive is written anew; what can no longer be opened stays as it is."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:  # noqa: BLE001 - an archive that was damaged before
        return _changed(content, change)
    way, where, byte, count = change
    chosen = byte % max(1, len(members))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, (name, data) in enumerate(members):
            if index != chosen:
                archive.writestr(name, data)
            elif way % 11 != 10:
                archive.writestr(name, _changed(data, (way, where, byte % 96 + 32, count)))
    return out.getvalue()
