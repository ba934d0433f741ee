"""The resident memory of an ingest stays below the limit, however large the file is."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.ingest.ingesting import Ingest
from tidemill.kit.errors import Invalid
from tidemill.training.ingest.model import Limits

_MIB = 2**20
_FREE_BYTES = 160 * _MIB
"""What the ingest gets beside its libraries; the files are several times as large as that."""
_CHILD = """
import json, pathlib, sys
from tests.integration.ingest.ingesting import QuietReporter
from tidemill.training.ingest.lean import normalise
from tidemill.training.ingest.memory import resident_bytes

limit_bytes = resident_bytes() + int(sys.argv[4])
result = normalise({"source": sys.argv[1], "filename": "big", "output": sys.argv[2]},
                   QuietReporter(pathlib.Path(sys.argv[3]), 2, limit_bytes))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({"rows": result["row_count"], "limit_bytes": limit_bytes, "pandas": "pandas" in sys.modules,
                  "peak_bytes": int(status["VmHWM"].split()[0]) * 1024, "profile": result["profile"]["columns"]}))
"""
_TEXT = "".join(Random(20260101).choices("abcdefghij", k=60_000))


def _rows(count: int) -> Iterator[dict[str, Any]]:
    for index in range(count):
        yield {
            "id": index,
            "value": round(index / 7, 9),
            "day": f"2024-01-{index % 28 + 1:02d}",
            "name": f"name {index % 1000}",
            "comment": f"said {index * 7919 % 1_000_003} times, and then some more",
        }


def _wide_rows(count: int) -> Iterator[tuple[int, str]]:
    """Texts of 50,000 characters, every fourth one the same."""
    return ((index, _TEXT[0 if index % 4 == 0 else index % 9973 :][:50_000]) for index in range(count))


def _write_csv(path: Path) -> int:
    block = list(_rows(100_000))
    lines = "".join(",".join(f'"{value}"' if "," in str(value) else str(value) for value in row.values()) + "\n"
                    for row in block)  # fmt: skip
    with path.open("w") as out:
        out.write(",".join(block[0]) + "\n")
        out.writelines(lines for _ in range(45))
    return 45 * len(block)


def _write_gzipped_csv(path: Path) -> int:
    plain = path.with_name("plain")
    count = _write_csv(plain)
    with plain.open("rb") as source, gzip.open(path, "wb", compresslevel=1) as out:
        while chunk := source.read(_MIB):
            out.write(chunk)
    plain.unlink()
    return count


def _write_ndjson(path: Path) -> int:
    lines = "".join(json.dumps(row) + "\n" for row in _rows(100_000))
    with path.open("w") as out:
        out.writelines(lines for _ in range(10))
    return 10 * 100_000


def _write_wide_csv(path: Path) -> int:
    with path.open("w") as out:
        out.write("id,text\n")
        out.writelines(f"{index},{text}\n" for index, text in _wide_rows(8_000))
    return 8_000


def _write_wide_ndjson(path: Path) -> int:
    with path.open("w") as out:
        out.writelines(json.dumps({"id": index, "text": text}) + "\n" for index, text in _wide_rows(8_000))
    return 8_000


def _write_wide_parquet(path: Path) -> int:
    rows = _wide_rows(8_000)
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema, write_batch_size=64) as writer:
        while chunk := list(islice(rows, 500)):
            ids, texts = zip(*chunk, strict=True)
            writer.write_table(pa.table([ids, texts], schema=schema))
    return 8_000


def _repeating_batches(rows: int) -> Iterator[pa.RecordBatch]:
    """Texts of 50,000 characters that the file holds once: first a short one for many rows, then the long ones."""
    texts = pa.array(["short", *(_TEXT[index:][:50_000] for index in range(9))])
    for start in range(0, rows, 4_000):
        numbers = range(start, start + 4_000)
        indices = pa.array([0 if number < 1_000 else number % 10 for number in numbers], pa.int32())
        columns = [pa.array(numbers), pa.DictionaryArray.from_arrays(indices, texts)]
        yield pa.RecordBatch.from_arrays(columns, names=["id", "text"])


def _write_repeating_parquet(path: Path) -> int:
    table = pa.Table.from_batches(_repeating_batches(8_000))
    pq.write_table(table, path, store_schema=False)
    return table.num_rows


def _write_repeating_arrow(path: Path) -> int:
    batches = list(_repeating_batches(8_000))
    with pa.ipc.new_file(path, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return 8_000


def _ingest(source: Path, folder: Path) -> Any:
    for name in ("parts", "scratch"):
        (folder / name).mkdir()
    arguments = [str(source), str(folder / "parts"), str(folder / "scratch"), str(_FREE_BYTES)]
    command = [sys.executable, "-c", _CHILD, *arguments]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600, cwd=root)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads its peak from /proc")
@pytest.mark.parametrize(
    "write",
    [
        _write_csv,
        _write_gzipped_csv,
        _write_ndjson,
        _write_wide_csv,
        _write_wide_ndjson,
        _write_wide_parquet,
        _write_repeating_parquet,
        _write_repeating_arrow,
    ],
    ids=[
        "csv",
        "gzip",
        "ndjson",
        "wide csv",
        "wide ndjson",
        "wide parquet",
        "repeating parquet",
        "repeating arrow",
    ],
)
def test_resident_memory_stays_below_the_limit(write: Callable[[Path], int], tmp_path: Path) -> None:
    source = tmp_path / "big"
    count = write(source)
    found = _ingest(source, tmp_path)
    assert found["rows"] == count
    assert found["peak_bytes"] < found["limit_bytes"]
    assert not found["pandas"]


def test_long_texts_are_counted_and_shown_by_their_beginning(ingest: Ingest) -> None:
    rows = "".join(f"{index},{text}\n" for index, text in _wide_rows(40))
    figures = ingest("id,text\n" + rows)["profile"]["columns"]
    assert list(figures) == ["id", "text"]
    text = figures["text"]
    assert (text["distinct"], text["missing"], text["max_length"]) == (31, 0, 50_000)
    assert text["most_frequent"][0] == {"value": _TEXT[:100], "count": 10}


def test_a_limit_that_the_libraries_alone_nearly_take_is_refused_with_what_it_needs() -> None:
    with pytest.raises(Invalid) as refused:
        Limits(200 * _MIB, 2, taken_bytes=150 * _MIB)
    assert refused.value.code == "memory_limit_too_small"
    assert "at least" in refused.value.detail
