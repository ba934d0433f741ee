"""Random tables, written in every format by Polars, come back value by value."""

import datetime as dt
import gzip
import io
import json
import math
import struct
from collections.abc import Callable
from random import Random
from typing import Any

import polars as pl
import pytest

from tests.integration.ingest.ingesting import Ingest, table_of, types_of

_MISSING = {"NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", ""}
_WORDS = [*_MISSING, "true", "007", "1e5", "2024-01-01", "12:30", " x", "y ", "inf", "-", "'q'", '"Q"', "x\\", "\\N",
          "1,5", "+4912345678", "0x1F"]  # fmt: skip
_CHARACTERS = [
    "a",
    "Z",
    "é",
    "日",
    "🙂",
    '"',
    "'",
    ",",
    ";",
    "\t",
    "|",
    "\n",
    "\r\n",
    " ",
    "0",
    "9",
    ".",
    "-",
    "\\",
    "#",
    "[",
]
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S%.6f"


def _text(random: Random) -> str:
    long = "".join(random.choice(_CHARACTERS) for _ in range(random.randint(0, 12)))
    return random.choice([random.choice(_WORDS), long])


def _number(random: Random) -> float:
    bits: float = struct.unpack("d", random.randbytes(8))[0]
    return random.choice([round(random.uniform(-1000, 1000), 2), bits if math.isfinite(bits) else 0.0])


_KINDS: dict[str, tuple[Any, Any, Callable[[Random], Any]]] = {
    "integer": (pl.Int64(), 2**60, lambda r: r.choice([r.randint(-9, 9), r.randint(-(2**63), 2**63 - 1), 2**53 + 1])),
    "float": (pl.Float64(), 1.5, _number),
    "string": (pl.String(), "text", _text),
    "boolean": (pl.Boolean(), True, lambda r: r.random() < 0.5),
    "date": (pl.Date(), dt.date(2020, 1, 1), lambda r: dt.date(1, 1, 1) + dt.timedelta(days=r.randint(0, 3_652_058))),
    "datetime": (
        pl.Datetime("us"), dt.datetime(2020, 1, 1, 1, 2, 3, 4),  # noqa: DTZ001 - without zone
        lambda r: dt.datetime(1900, 1, 1) + dt.timedelta(microseconds=r.randint(0, 10**16)),  # noqa: DTZ001 - as above
    ),
}  # fmt: skip


def _frame(random: Random) -> pl.DataFrame:
    """The first row has a value of each column, from which its type is plain."""
    columns = []
    for kind, (polars_type, first, make) in _KINDS.items():
        share = random.choice([0, 0.1, 0.5])
        values = [first, *(None if random.random() < share else make(random) for _ in range(random.choice([2, 60])))]
        columns.append(pl.Series(kind, values, dtype=polars_type))
    rows = min(map(len, columns))
    return pl.DataFrame([column.head(rows) for column in columns])


def _binary(write: Callable[[io.BytesIO], Any]) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def _files(frame: pl.DataFrame) -> dict[str, bytes]:
    def csv(**options: Any) -> bytes:
        return frame.write_csv(datetime_format=_TIME_FORMAT, **options).encode()

    times = [pl.col("date").cast(pl.String), pl.col("datetime").dt.to_string(_TIME_FORMAT)]
    objects = frame.with_columns(times).to_dicts()
    files = {f"csv {delimiter!r}": csv(separator=delimiter, quote_style="non_numeric") for delimiter in ",;\t|"}
    return files | {
        "csv, few quotes": csv(),
        "csv, all quotes": csv(quote_style="always"),
        "csv, gzip": gzip.compress(b"\xef\xbb\xbf" + csv(quote_style="non_numeric", line_terminator="\r\n")),
        "json": json.dumps(objects, indent=1).encode("utf-16"),
        "ndjson": "\n".join(json.dumps(item, ensure_ascii=False) for item in objects).encode(),
        "parquet": _binary(frame.write_parquet),
        "arrow": _binary(lambda out: frame.write_ipc(out, compression="zstd")),
        "arrow stream": _binary(frame.write_ipc_stream),
    }


@pytest.mark.parametrize("seed", range(4))
def test_every_value_comes_back_from_every_format(ingest: Ingest, seed: int) -> None:
    frame = _frame(Random(seed))
    for name, content in _files(frame).items():
        result = ingest(content)
        empty = _MISSING if name == "csv, few quotes" else {""}
        expected = {
            column: [None if column == "string" and value in empty else value for value in values]
            for column, values in frame.to_dict(as_series=False).items()
        }
        assert types_of(result) == {kind: kind for kind in _KINDS}, name
        assert table_of(result).to_pydict() == expected, name
