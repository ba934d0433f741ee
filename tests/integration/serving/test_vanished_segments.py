"""Rows of segments that vanish, and what lies in place of the ledger's files: no answered row is lost unseen."""

import asyncio
import errno
import os
import zlib
from pathlib import Path

import pytest

from tests.integration.serving.test_ledger import Receiver, line
from tidemill.kit.errors import Unavailable
from tidemill.model_server.disk import write_atomically
from tidemill.model_server.ledger.marks import Mark, MarkFile, read_mark
from tidemill.model_server.ledger.probe import PROBE_NAME, DiskProbe
from tidemill.model_server.ledger.segments import SegmentFolder
from tidemill.model_server.ledger.shipper import Shipper
from tidemill.model_server.ledger.writer import LedgerLimits, LedgerWriter

_LIMITS = LedgerLimits(max_bytes=100_000)


class FullDisk(SegmentFolder):
    """On which no segment can be made while ``is_full``."""

    is_full = False

    def create(self, number: int) -> tuple[int, MarkFile]:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().create(number)


def lost_rows(root: Path) -> int:
    """As a server that starts finds."""
    return SegmentFolder(root).set_aside.totals().lost_rows


async def test_rows_of_a_vanished_segment_are_told_lost_if_the_server_ends_before_they_are_written_anew(
    tmp_path: Path,
) -> None:
    folder, receiver = FullDisk(tmp_path / "ledger"), Receiver()
    writer = LedgerWriter(folder, _LIMITS)
    shipper = Shipper(folder, writer, receiver, 0.01)
    await writer.append(line(1))
    await writer.append(line(2))
    folder.is_full = True
    folder.path(1).unlink()
    with pytest.raises(Unavailable):
        await writer.append(line(3))
    await shipper.ship_waiting()
    assert (shipper.aside.lost_rows, writer.waiting_bytes) == (0, len(line(1) + line(2)))
    folder.is_full = False
    await shipper.ship_waiting()
    assert {row["n"] for row in receiver.rows} == {1, 2}
    assert (shipper.aside.lost_rows, lost_rows(folder.folder)) == (0, 0)
    await asyncio.to_thread(writer.close)


async def test_a_server_that_is_killed_with_rows_of_a_vanished_segment_leaves_their_number(tmp_path: Path) -> None:
    folder = FullDisk(tmp_path / "ledger")
    writer = LedgerWriter(folder, _LIMITS)
    await writer.append(line(1) + line(2))
    folder.is_full = True
    folder.path(1).unlink()
    with pytest.raises(Unavailable):
        await writer.append(line(3))
    assert lost_rows(folder.folder) == 2  # what is in the memory of the other one is gone for this one
    await asyncio.to_thread(writer.close)


@pytest.mark.parametrize("is_mark_gone", [False, True])
async def test_rows_cut_from_a_vanished_segment_are_counted_once(tmp_path: Path, is_mark_gone: bool) -> None:
    folder = SegmentFolder(tmp_path / "ledger")
    writer = LedgerWriter(folder, _LIMITS)
    await writer.append(line(1) + line(2))
    os.truncate(folder.path(1), len(line(1)) + 10)
    folder.path(1).unlink()
    if is_mark_gone:
        folder.path(1).with_suffix(".mark").unlink()
    with pytest.raises(Unavailable):
        await writer.append(line(3))
    receiver = Receiver()
    shipper = Shipper(folder, writer, receiver, 0.01)
    await shipper.ship_waiting()
    assert [row["n"] for row in receiver.rows] == [1]
    assert (shipper.aside.lost_rows, lost_rows(folder.folder)) == (1, 1)
    await asyncio.to_thread(writer.close)


async def test_a_request_sent_twice_under_its_key_is_no_damage(tmp_path: Path) -> None:
    folder, receiver = SegmentFolder(tmp_path / "ledger"), Receiver()
    writer = LedgerWriter(folder, _LIMITS)
    for _ in range(3):
        await writer.append(line(1))
    shipper = Shipper(folder, writer, receiver, 0.01)
    await shipper.ship_waiting()
    assert (len(receiver.rows), shipper.aside.lost_rows) == (3, 0)
    await asyncio.to_thread(writer.close)


def test_a_mark_is_counted_before_its_number_is_taken_again(tmp_path: Path) -> None:
    folder = SegmentFolder(tmp_path / "ledger")
    _descriptor, mark = folder.create(5)
    mark.write(Mark(100, 3, 0))
    folder.path(5).unlink()
    folder.create(5)
    assert folder.set_aside.totals().lost_rows == 3


def test_marks_of_earlier_releases_are_read(tmp_path: Path) -> None:
    size, rows = b"%020d" % 70, b"%020d" % 2
    (tmp_path / "mark").write_bytes(b"%08x %s %s\n" % (zlib.crc32(size + rows), size, rows))
    assert read_mark(tmp_path / "mark") == Mark(70, 2, None)


@pytest.mark.timeout(20)
def test_a_pipe_or_link_in_place_of_a_file_holds_nobody_up_and_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    for plant in (os.mkfifo, lambda path: path.symlink_to(victim)):
        for name in (PROBE_NAME, "server.id.part", "mark"):
            plant(tmp_path / name)
        write_atomically(tmp_path / "server.id", b"new")
        probe = DiskProbe(tmp_path, lambda: None)
        probe.failed(1)
        assert probe.passes()
        assert read_mark(tmp_path / "mark") is None
        with pytest.raises(FileExistsError):
            MarkFile(tmp_path / "mark")
        assert (tmp_path / "server.id").read_bytes() == b"new"
        (tmp_path / "mark").unlink()
    assert victim.read_bytes() == b"untouched"


def test_a_reason_without_its_rows_goes_at_the_next_start(tmp_path: Path) -> None:
    folder = SegmentFolder(tmp_path / "ledger")
    folder.set_aside.keep([b"{}"], {"value_invalid": 1})
    (orphan := folder.rejected / f"{'0' * 32}.json").write_text("{}")
    again = SegmentFolder(tmp_path / "ledger")
    assert (orphan.exists(), again.quarantine.held().files) == (False, 0)
    assert [dict(entry.reasons) for entry in again.set_aside.entries()] == [{"value_invalid": 1}]
