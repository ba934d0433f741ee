"""Run as a program: decodes hostile bodies as the model server does, and tells what each took at most. Prints JSON."""

import ctypes
import gc
import gzip
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from tidemill.kit.errors import TidemillError
from tidemill.kit.signatures import Column
from tidemill.model_server.transports.csv_table import CsvTable, unpacked
from tidemill.model_server.transports.json_pieces import LargeJson
from tidemill.model_server.transports.parquet_table import ParquetTable
from tidemill.model_server.transports.server import parsed_json
from tidemill.model_server.transports.sizes import csv_bytes
from tidemill.web.request_memory import MemoryShare, RequestMemory

MIB = 2**20
MEMORY_BYTES = 128 * MIB
_MOST_ROWS = 250_000
_SIGNATURE = [Column("text", "string", True), Column("other", "string", False)]
Decode = Callable[[MemoryShare], Any]
_PR_SET_THP_DISABLE = 41


def _json(body: bytes) -> Decode:
    return lambda share: parsed_json(body, share)


def _pieces(body: bytes) -> Decode:
    return lambda share: LargeJson(body, _SIGNATURE, _MOST_ROWS, share.take).content()


def _csv(body: bytes) -> Decode:
    def decode(share: MemoryShare) -> Any:
        plain = unpacked(body, share.take)
        share.take(csv_bytes(plain))
        return CsvTable(plain, "text/csv", _SIGNATURE, _MOST_ROWS)

    return decode


def _frames(size: int, most_bytes: int) -> bytes:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(b"a" * size)
    return frame * (most_bytes // len(frame))


def _parquet(column: Any, **options: Any) -> Decode:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": column}), out, compression="zstd", **options)
    return lambda share: ParquetTable(out.getvalue(), _SIGNATURE, _MOST_ROWS, share.take)


def _with_dictionary(size_bytes: int, rows: int) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * size_bytes]))


def _nested(depth: int) -> Any:
    kind = pa.int32()
    for _ in range(depth):
        kind = pa.list_(kind)
    return pa.array([None], kind)


def cases() -> Iterator[tuple[str, Decode]]:
    """Each is larger once it is decoded than one request may be, or just within."""
    yield "json: empty lists", _json(b"[" + b"[]," * 2_000_000 + b"0]")
    yield "json: empty objects", _json(b"[" + b"{}," * 2_000_000 + b"0]")
    yield "json: many members", _json(b"{" + b",".join(b'"%x":1' % number for number in range(900_000)) + b"}")
    yield "json: long keys", _json(b'{"' + b"k" * (20 * MIB) + b'":1}')
    yield "json: wide text", _json(b'["' + b"a" * (11 * MIB) + "😀".encode() + b'"]')
    yield "json: short texts", _json(b"[" + b'"ab",' * 700_000 + b"0]")
    yield "json: numbers", _json(b"[" + b"1.5," * 700_000 + b"0]")
    yield "json: many rows", _json(b"[" + b'{"age":25,"town":"Ulm","hours":40.5},' * 100_000 + b"0]")
    yield "json: marks in a text", _json(b'["' + b"[{,:" * (4 * MIB) + b'"]')
    yield "json: depth", _json(b"[" * 500_000)
    yield "json: a long number", _json(b"[" + b"9" * (4 * MIB) + b"]")
    yield "json in pieces: many rows", _pieces(b'{"inputs":[' + b'{"text":"Ulm","x":40.5},' * 150_000 + b"0]}")
    yield "json in pieces: other columns", _pieces(b'{"inputs":[' + b'{"a":[[],[]],"b":{}},' * 50_000 + b"0]}")
    yield "json in pieces: cells", _pieces(b'{"inputs":{"text":[' + b'"ab",' * 249_999 + b'"ab"]}}')
    yield "json in pieces: empty lists", _pieces(b'{"inputs":[' + b"[]," * 200_000 + b"0]}")
    yield "json in pieces: members", _pieces(b'{"inputs":{' + b",".join(b'"%x":1' % n for n in range(99_999)) + b"}}")
    yield "csv: cells", _csv(b"," * (8 * MIB))
    yield "csv: rows", _csv(b"text\n" + b"ab\n" * 150_000)
    yield "csv: packed cells", _csv(gzip.compress(b"," * (60 * MIB), 1))
    for size in (0, 2, 8):
        yield f"csv: packed in frames of {size}", _csv(_frames(size, 14 * MIB))
    yield "csv: packed rows", _csv(zstandard.compress(b"text\n" + b"ab\n" * 150_000))
    yield "parquet: dictionary", _parquet(_with_dictionary(10 * MIB, 300))
    yield "parquet: large dictionary", _parquet(_with_dictionary(50 * MIB, 20))
    yield "parquet: page of zeros", _parquet(pa.array(["0" * (30 * MIB)] * 4), use_dictionary=False)
    yield "parquet: list of one run", _parquet(pa.array([[None] * 3_000_000], pa.list_(pa.int8())))
    yield "parquet: many pages", _parquet(pa.array(range(90_000)), data_page_size=1, write_batch_size=1)
    yield "parquet: depth", _parquet(_nested(40))
    yield (
        "parquet: prefixes",
        _parquet(pa.array(["x" * MIB] * 100), use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY"),
    )


def _kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def _measure_alike_everywhere() -> None:
    """What is resident shall be what was used, whatever the machine's settings.

    Huge pages, where they are always on, add up to 2 MiB to every block; counters of a kernel between 6.2 and 6.16 lag
    behind on each CPU on which a process has run.
    """
    ctypes.CDLL(None).prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _measured(decode: Decode) -> tuple[str, int]:
    gc.collect()
    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _kib("VmRSS")
    outcome = "ok"
    try:
        decode(RequestMemory(MEMORY_BYTES).share())
    except TidemillError as error:
        outcome = error.code
    return outcome, 1024 * (_kib("VmHWM") - before)


if __name__ == "__main__":
    _measure_alike_everywhere()
    found = {}
    for name, decode in cases():
        found[name] = _measured(decode)
    json.dump(found, sys.stdout)
