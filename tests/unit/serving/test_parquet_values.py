"""Values of Parquet bodies: as datasets read them, or refused with their place."""

import io
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidemill.kit.errors import Invalid
from tidemill.kit.signatures import Column
from tidemill.model_server.transports.parquet_table import ParquetTable
from tidemill.model_server.validation import validate

FAR = 253_402_300_800
"""Seconds from 1970 to the year 10000."""


def read(values: pa.Array, kind: str) -> tuple[list[Any], int]:
    """The column as it is predicted, and how many warnings there are."""
    body, signature = io.BytesIO(), [Column("x", kind, required=False)]
    pq.write_table(pa.table({"x": values}), body)
    table = ParquetTable(body.getvalue(), signature, 100, lambda _: None)
    return [str(value) for value in validate(table, signature)["x"]], len(table.warnings)


@pytest.mark.parametrize(
    ("values", "kind", "expected", "warnings"),
    [
        (pa.array([1_700_000_000_123_456_789], pa.timestamp("ns")), "datetime", "2023-11-14 22:13:20.123456", 1),
        (pa.array([1_700_000_000_123_456_000], pa.timestamp("ns")), "datetime", "2023-11-14 22:13:20.123456", 0),
        (pa.array([0], pa.timestamp("ms", "Europe/Berlin")), "string", "1970-01-01T00:00:00+00:00", 0),
        (pa.array([-1], pa.timestamp("us", "No/Such")), "datetime", "1969-12-31 23:59:59.999999", 0),
        (pa.array([-365], pa.date32()), "datetime", "1969-01-01 00:00:00", 0),
        (pa.array([86_400_000], pa.date64()), "string", "1970-01-02", 0),
        (pa.array([37_800_000_000], pa.time64("us")), "string", "10:30:00.000000", 0),
        (pa.array([37_800], pa.time32("s")), "string", "10:30:00.000", 0),
        (pa.array([Decimal("1.50")]), "double", "1.5", 0),
        (pa.array([Decimal("1.234567890123456789")]), "double", "1.2345678901234567", 1),
        (pa.array([Decimal(12345678901234567)]), "long", "12345678901234567", 0),
    ],
)
def test_times_and_decimals_are_read_as_in_a_dataset(values: pa.Array, kind: str, expected: str, warnings: int) -> None:
    assert read(values, kind) == ([expected], warnings)


@pytest.mark.parametrize("kind", ["datetime", "string", "double", "Array(long)"])
@pytest.mark.parametrize(
    "values",
    [
        pa.array([None, FAR], pa.timestamp("s")),
        pa.array([None, -(2**62)], pa.timestamp("us")),
        pa.array([None, 2**31 - 1], pa.date32()),
        pa.array([None, 2**55], pa.date64()),
    ],
)
def test_a_time_in_no_year_of_ours_is_refused_with_its_place(values: pa.Array, kind: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(values, kind)
    assert [problem.pointer for problem in caught.value.problems] == ["row 2, column x"]


@pytest.mark.parametrize("nested", [False, True])
def test_a_type_of_an_extension_is_refused_before_its_texts_are_unpacked(nested: bool) -> None:
    """Else a text that is kept once would be there for each row."""
    text = pa.ExtensionArray.from_storage(pa.json_(), pa.array(["x" * 2**15] * 99))
    values = pa.ListArray.from_arrays(pa.array(range(100), pa.int32()), text) if nested else text
    claims: list[int] = []
    body = io.BytesIO()
    pq.write_table(pa.table({"x": values}), body)
    with pytest.raises(Invalid) as caught:
        ParquetTable(body.getvalue(), [Column("x", "string", required=False)], 100, claims.append)
    assert [problem.pointer for problem in caught.value.problems] == ["column x"]
    assert len(claims) == 1  # for the footer; none for a page
