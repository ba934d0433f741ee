"""Rows are found again by their content in another version of a dataset, whole numbers to the last digit."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidemill.training.row_keys import row_keys

LARGE = 2**60
BEYOND_FLOATS = [LARGE + step for step in range(64)] + [2**63 - 1 - step for step in range(64)]


def keys(folder: Path, values: list[int | None], kind: pa.DataType | None = None) -> list[int]:
    file = folder / "part.parquet"
    pq.write_table(pa.table({"id": pa.array(values, kind or pa.int64()), "other": ["x"] * len(values)}), file)
    return [int(key) for key in row_keys([file], ["id", "other"])]


@pytest.mark.parametrize("sign", [1, -1])
def test_integers_that_are_alike_as_floats_are_found_again_in_any_order(sign: int, tmp_path: Path) -> None:
    values = [sign * value for value in BEYOND_FLOATS]
    forwards = dict(zip(values, keys(tmp_path, values), strict=True))
    backwards = dict(zip(values[::-1], keys(tmp_path, values[::-1]), strict=True))
    assert forwards == backwards
    assert len(set(forwards.values())) == len(values)


def test_a_gap_changes_no_other_row_key(tmp_path: Path) -> None:
    values = [3, LARGE + 1, LARGE, -7]
    assert keys(tmp_path, [None, *values])[1:] == keys(tmp_path, values)


def test_small_integers_and_the_same_floats_have_the_same_keys(tmp_path: Path) -> None:
    assert keys(tmp_path, [1, -2, 2**53]) == keys(tmp_path, [1, -2, 2**53], pa.float64())
