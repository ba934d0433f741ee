"""A few bytes that stand for a table of texts without end are refused soon, and honest repetition is read."""

import io
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.ingest.ingesting import Ingest
from tidemill.kit.errors import TooLarge

_MIB = 2**20
Write = Callable[[pa.Table], bytes]


def repeated(rows: int, text: str) -> pa.Table:
    indices = pa.array([0] * rows, pa.int32())
    return pa.table({"id": pa.array([1] * rows, pa.int8()), "text": pa.DictionaryArray.from_arrays(indices, [text])})


def arrow(table: pa.Table) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_file(out, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return out.getvalue()


def parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


@pytest.mark.parametrize("write", [arrow, parquet])
def test_one_long_text_for_very_many_rows_is_refused_at_the_limit_of_what_is_unpacked(
    ingest: Ingest, write: Write
) -> None:
    content = write(repeated(200_000, "x" * 2 * _MIB))  # 400 GB, written out
    assert len(content) < _MIB
    with pytest.raises(TooLarge) as refused:
        ingest(content)
    assert refused.value.code == "file_too_large"


@pytest.mark.parametrize("write", [arrow, parquet])
def test_a_text_that_honest_rows_repeat_is_read(ingest: Ingest, write: Write) -> None:
    assert ingest(write(repeated(300_000, "Frankfurt")))["row_count"] == 300_000
