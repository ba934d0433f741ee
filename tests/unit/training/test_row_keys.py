"""Rows are found again by their content, exactly: no two integers are one, however large."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidemill.training.row_keys import row_keys

_LARGE = [2**53, 2**53 + 1, 2**53 + 2, 2**63 - 1, 2**63 - 2, 2**63 - 513, 2**63 - 600]


@pytest.fixture
def keys(tmp_path: Path) -> Any:
    def of(**columns: Any) -> list[int]:
        pq.write_table(pa.table(columns), tmp_path / "part.parquet")
        return [int(key) for key in row_keys([tmp_path / "part.parquet"], list(columns))]

    return of


@pytest.mark.parametrize(
    "values",
    [
        pa.array([*_LARGE, *(-value for value in _LARGE), -(2**63), 0, 1]),
        pa.array([*_LARGE, None, 0]),
        pa.array([2**64 - 1, 2**64 - 2, 2**63, 2**63 + 1, 5], pa.uint64()),
    ],
)
def test_different_integers_have_different_keys(keys: Any, values: pa.Array) -> None:
    assert len(set(keys(number=values))) == len(values)


def test_integers_that_trade_places_between_columns_have_different_keys(keys: Any) -> None:
    assert len(set(keys(a=pa.array([2**53 + 1, 2**53 + 2]), b=pa.array([2**53 + 2, 2**53 + 1])))) == 2


def test_a_row_keeps_its_key_among_other_rows_and_where_its_column_became_one_of_floats(keys: Any) -> None:
    few, floats = keys(a=pa.array([7, 2**60])), keys(a=pa.array([7.0, float(2**60)]))
    assert few == floats
    assert keys(a=pa.array([2**53 + 1, None, 7]))[2] == few[0]
