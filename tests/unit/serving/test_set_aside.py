"""Rows set aside: what lies in place of a file is neither followed nor believed, and nothing is lost by a retry."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.test_trees import nested
from tidemill.admin.set_aside import Found
from tidemill.kit.errors import Conflict, Invalid
from tidemill.kit.trees import remove_tree
from tidemill.model_server.ledger.marks import Mark
from tidemill.model_server.ledger.segments import SegmentFolder
from tidemill.model_server.ledger.set_aside import Kind, SetAside
from tidemill.model_server.quarantine import LEAST_BYTES, Quarantine, size_of

ROW = b'{"prediction_id": "prd_1"}'


@pytest.fixture
def aside(tmp_path: Path) -> SetAside:
    found = SetAside(tmp_path)
    found.keep([ROW], {"value_invalid": 1})
    return found


def name_of(aside: SetAside) -> str:
    return next(entry.name for entry in aside.entries() if entry.kind is Kind.ROWS)


def test_a_link_that_was_planted_is_not_written_through(aside: SetAside, tmp_path: Path) -> None:
    name, target = name_of(aside), tmp_path / "target"
    target.write_text("precious")
    (tmp_path / f"{name}.ndjson.part").symlink_to(target)
    aside.keep([ROW], {"value_invalid": 1})
    assert target.read_text() == "precious"
    assert aside.lines(name) == [ROW]


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
    os.utime(tmp_path / f"{name_of(aside)}.ndjson", (2**33, 2**33))
    assert (aside.totals().rows, aside.totals().lost_rows) == (1, 0)


def test_a_segment_that_somebody_put_there_is_left_alone(tmp_path: Path) -> None:
    folder = SegmentFolder(tmp_path)
    folder.path(5).write_bytes(ROW)
    with pytest.raises(FileExistsError):
        folder.create(5)
    assert folder.path(5).read_bytes() == ROW


def test_rows_that_wait_to_be_shipped_again_are_listed_counted_and_discarded_like_others(aside: SetAside) -> None:
    aside.retry(name_of(aside))
    (entry,) = aside.entries()
    assert (entry.kind, entry.rows, entry.size_bytes) == (Kind.RETRY, 1, LEAST_BYTES)
    assert (aside.totals().rows, aside.totals().retry_rows, aside.totals().size_bytes) == (0, 1, LEAST_BYTES)
    assert aside.lines(entry.name) == [ROW]
    with pytest.raises(Conflict):
        aside.retry(entry.name)
    aside.discard(entry.name)
    assert aside.totals().size_bytes == 0


def test_rows_retried_twice_wait_twice_so_that_no_request_replaces_another(aside: SetAside) -> None:
    aside.retry(name_of(aside), b"first")
    aside.keep([ROW], {"value_invalid": 1})
    aside.retry(name_of(aside), b"second")
    assert [path.read_bytes() for path in aside.waiting_again()] == [b"first\n", b"second\n"]


def test_rows_that_come_back_while_they_are_put_back_stay(tmp_path: Path) -> None:
    """The shipper may be quicker than the operator's command: what it sets aside again is another file."""

    class Overtaken(SetAside):
        def _write(self, name: str, content: bytes) -> None:
            super()._write(name, content)
            for path in self.waiting_again():
                self._come_back(path)

        def _come_back(self, path: Path) -> None:
            lines = path.read_bytes().splitlines()
            path.unlink()
            super().keep(lines, {"value_invalid": 1})

    aside = Overtaken(tmp_path)
    aside.keep([ROW], {"value_invalid": 1})
    aside.retry(name_of(aside))
    assert aside.totals().rows + aside.totals().retry_rows == 1


def test_a_folder_that_was_removed_under_a_server_is_made_again(aside: SetAside, tmp_path: Path) -> None:
    remove_tree(tmp_path)
    aside.keep([ROW], {"value_invalid": 1})
    assert (aside.totals().rows, tmp_path.stat().st_mode & 0o777) == (1, 0o700)


def test_rows_put_back_by_an_earlier_release_still_wait(aside: SetAside, tmp_path: Path) -> None:
    (tmp_path / f"{'a' * 32}.retry").write_bytes(ROW)
    assert [path.stem for path in aside.waiting_again()] == ["a" * 32]
    assert aside.totals().retry_rows == 1


@pytest.mark.parametrize("lines", [[b"a\rb"], [b"a\x0bb", b"c\x0cd\x85"], [b"\xff\x00"]])
def test_a_line_ends_at_its_line_break_alone(tmp_path: Path, lines: list[bytes]) -> None:
    aside = SetAside(tmp_path)
    aside.keep(lines, {"line_damaged": len(lines)})
    assert (aside.totals().rows, aside.lines(name_of(aside))) == (len(lines), lines)


def test_a_loss_that_is_found_again_on_another_day_is_counted_once(tmp_path: Path) -> None:
    folder = SegmentFolder(tmp_path)
    _descriptor, mark = folder.create(7)
    for _ in range(2):
        folder.count_lost(7, 3, "segment_damaged")
    mark.write(Mark(10, 1))
    os.utime(tmp_path / f"{7:016d}.mark", ns=(1, 1))  # another segment that had the same number
    folder.count_lost(7, 3, "segment_damaged")
    assert folder.set_aside.totals().lost_rows == 6


def test_after_the_last_number_the_first_that_is_free_follows(tmp_path: Path) -> None:
    folder = SegmentFolder(tmp_path)
    for number in (1, 2, 10**16 - 2):
        folder.path(number).write_bytes(ROW)
    assert folder.number_after(10**16 - 2) == 10**16 - 1
    folder.create(10**16 - 1)
    (tmp_path / f"{3:016d}.mark").write_bytes(b"")
    assert folder.number_after(10**16 - 1) == 4
    assert SegmentFolder(tmp_path).numbers() == [1, 2, 10**16 - 2, 10**16 - 1]


def test_a_deep_folder_costs_no_long_walk_and_can_be_discarded(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    deep = quarantine.folder / "deep"
    nested(deep)
    try:
        assert 100 * LEAST_BYTES < quarantine.held().size_bytes < 10_001 * LEAST_BYTES
        Found(deep.name, "file", None, 0, datetime.now(UTC), {}, deep).discard()
        assert quarantine.held().files == 0
    finally:
        remove_tree(deep)


def test_a_file_with_holes_counts_as_what_it_takes_on_disk(tmp_path: Path) -> None:
    (tmp_path / "hole").touch()
    os.truncate(tmp_path / "hole", 2**40)
    assert size_of(tmp_path / "hole") == LEAST_BYTES
