"""One other user may pass through a folder, and neither its group nor everybody else."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidemill.platform.passage import let_pass, may_pass

_USER, _STRANGER = 54321, 54322
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="access control lists of Linux")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Closed, below a folder that is open to all."""
    with tempfile.TemporaryDirectory() as closed:
        inner = Path(closed) / "inner"
        inner.mkdir(mode=0o755)
        (inner / "file").write_text("inner")
        if not let_pass(inner, _USER):
            pytest.skip("the temporary directory's file system has no access control lists")
        yield Path(closed)


def test_a_user_that_was_let_pass_is_found_in_the_list_and_the_mode_opens_to_nobody_else(folder: Path) -> None:
    assert not may_pass(folder, _USER)
    for _ in range(2):
        assert let_pass(folder, _USER)
        assert may_pass(folder, _USER)
        assert not may_pass(folder, _STRANGER)
        assert stat.S_IMODE(folder.stat().st_mode) & 0o007 == 0
    assert let_pass(folder, _STRANGER)
    assert may_pass(folder, _USER)


def test_a_right_that_the_list_withholds_from_others_stays_withheld(folder: Path) -> None:
    assert let_pass(folder, _STRANGER)
    folder.chmod(0o700)  # the mask of the list takes the right away again
    assert not may_pass(folder, _STRANGER)
    assert not let_pass(folder, _USER)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users")
def test_the_user_reaches_what_lies_below_and_can_neither_list_nor_write_and_a_stranger_reaches_nothing(
    folder: Path,
) -> None:
    assert let_pass(folder, _USER)

    def does(user: int, command: list[str]) -> bool:
        command = [
            "/usr/bin/env",
            "-i",
            *command,
        ]  # whose folders are not those of our PATH, which may be closed to them
        done = subprocess.run(command, user=user, group=user, extra_groups=[], capture_output=True, check=False)
        return done.returncode == 0

    file = str(folder / "inner" / "file")
    assert does(_USER, ["cat", file])
    assert not does(_USER, ["ls", str(folder)])
    assert not does(_USER, ["touch", str(folder / "new")])
    assert not does(_STRANGER, ["cat", file])
