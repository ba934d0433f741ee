"""What a guard sees of a process: here of this one."""

import mmap
import os
from pathlib import Path

from tidemill.kit.errors import Unavailable
from tidemill.sandbox.guard import Bounds, excess, first_excess

MUCH = 2**60
MIB = 2**20


def test_a_child_is_ended_where_less_than_the_reserve_is_free(tmp_path: Path) -> None:
    ended = excess(os.getpid(), Bounds(MUCH, MUCH, (tmp_path,), free_bytes=MUCH))
    assert isinstance(ended, Unavailable)
    assert ended.code == "disk_nearly_full"


def test_a_limit_that_only_a_full_disk_lowered_is_no_fault_of_the_child(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(MIB))
    ended = excess(os.getpid(), Bounds(MUCH, 1, (tmp_path,), disk_is_short=True))
    assert isinstance(ended, Unavailable)
    assert Bounds.of(MUCH, MUCH, (tmp_path,)).disk_is_short
    assert not Bounds.of(MUCH, 1, (tmp_path,)).disk_is_short


async def test_a_child_that_can_no_longer_be_watched_is_ended(tmp_path: Path) -> None:
    def fail() -> Bounds:
        raise RuntimeError("can't start new thread")

    ended = await first_excess(os.getpid(), fail, 0.01)
    assert (ended.code, isinstance(ended, Unavailable)) == ("guard_failed", True)
    ended = await first_excess(os.getpid(), lambda: Bounds(1, MUCH, (tmp_path,)), 0.01)
    assert ended.code == "memory_limit_exceeded"


def test_the_reserve_leaves_a_child_its_part_of_a_disk_that_is_nearly_full_already(tmp_path: Path) -> None:
    before = os.statvfs(tmp_path)
    bounds = Bounds.of(MUCH, MUCH, (tmp_path,))
    after = os.statvfs(tmp_path)  # others write and remove files meanwhile
    assert 0 < bounds.free_bytes <= max(free.f_bavail * free.f_frsize for free in (before, after)) / 3
    assert excess(os.getpid(), bounds) is None
    assert excess(os.getpid(), Bounds(MUCH, MUCH, (tmp_path / "gone",), MUCH)) is None


def test_a_deleted_file_counts_once_however_often_it_is_open_and_mapped(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+b") as file:
        file.write(bytes(4 * MIB))
        file.flush()
        with mmap.mmap(file.fileno(), 0), open(os.dup(file.fileno()), "rb"):  # noqa: PTH123 - a descriptor
            (tmp_path / "file").unlink()
            assert excess(os.getpid(), Bounds(MUCH, 6 * MIB, (tmp_path,))) is None
            ended = excess(os.getpid(), Bounds(MUCH, 3 * MIB, (tmp_path,)))
    assert ended is not None
    assert ended.code == "disk_limit_exceeded"
