"""Rows set aside: what lies in place of a file is neither followed nor believed, and nothing is lost by a retry."""

import os
from pathlib import Path

import pytest

from tidemill.kit.errors import Invalid
from tidemill.model_server.ledger.segments import SegmentFolder
from tidemill.model_server.ledger.set_aside import SetAside

ROW = b'{"prediction_id": "prd_1"}'


@pytest.fixture
def aside(tmp_path: Path) -> SetAside:
    found = SetAside(tmp_path)
    found.keep([ROW], {"value_invalid": 1})
    return found


def name_of(aside: SetAside) -> str:
    (entry,) = aside.entries()
    return entry.name


def test_a_link_that_was_planted_is_not_written_through(aside: SetAside, tmp_path: Path) -> None:
    name, target = name_of(aside), tmp_path / "target"
    target.write_text("precious")
    (tmp_path / f"{name}.retry.part").symlink_to(target)
    assert aside.retry(name) == 1
    assert target.read_text() == "precious"
    assert (tmp_path / f"{name}.retry").read_bytes() == ROW + b"\n"


@pytest.mark.parametrize("repaired", [b"", b"\n \n"])
def test_a_repair_that_leaves_no_row_is_refused_and_the_rows_stay(aside: SetAside, repaired: bytes) -> None:
    name = name_of(aside)
    with pytest.raises(Invalid) as refused:
        aside.retry(name, repaired)
    assert refused.value.code == "set_aside_rows_missing"
    assert aside.lines(name) == [ROW]


def test_records_and_times_beyond_belief_end_nothing(aside: SetAside, tmp_path: Path) -> None:
    (tmp_path / "lost-0000000000000001-00000000.json").write_bytes(b"[" * 60_000)
    (tmp_path / "lost-0000000000000002-00000000.json").write_bytes(b'{"rows": -5, "reasons": {}}')
    os.utime(tmp_path / f"{name_of_kept(aside)}.ndjson", (2**33, 2**33))
    assert (aside.totals().rows, aside.totals().lost_rows) == (1, 0)


def name_of_kept(aside: SetAside) -> str:
    return next(entry.name for entry in aside.entries() if not entry.lost)


def test_a_segment_that_somebody_put_there_is_left_alone(tmp_path: Path) -> None:
    folder = SegmentFolder(tmp_path)
    folder.path(5).write_bytes(ROW)
    with pytest.raises(FileExistsError):
        folder.create(5)
    assert folder.path(5).read_bytes() == ROW
