"""Files that a child names."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tidemill.jobs.returned import returned_file
from tidemill.kit.errors import Invalid
from tidemill.kit.hashing import sha256_of_file

Plant = Callable[[Path, Path], object]


def _plain(output: Path, _secret: Path) -> str:
    (output / "file").write_text("x")
    return str(output / "file")


def _symbolic(output: Path, secret: Path) -> str:
    (output / "link").symlink_to(secret)
    return str(output / "link")


def _below_a_link(output: Path, secret: Path) -> str:
    (output / "folder").symlink_to(secret.parent)
    return str(output / "folder" / secret.name)


def _hard(output: Path, secret: Path) -> str:
    os.link(secret, output / "hard")
    return str(output / "hard")


def _fifo(output: Path, _secret: Path) -> str:
    os.mkfifo(output / "fifo")
    return str(output / "fifo")


REFUSED: dict[str, Plant] = {
    "the secret itself": lambda output, secret: str(secret),
    "a way up": lambda output, secret: str(output / ".." / secret.name),
    "a symbolic link": _symbolic,
    "a file below a linked folder": _below_a_link,
    "a hard link": _hard,
    "a pipe": _fifo,
    "a folder": lambda output, secret: str(output),
    "nothing there": lambda output, secret: str(output / "missing"),
    "a system's file": lambda output, secret: "/etc/passwd",
    "no path": lambda output, secret: None,
    "a zero in it": lambda output, secret: str(output / "a\0b"),
    "a number": lambda output, secret: 3,
}


@pytest.mark.parametrize("plant", REFUSED.values(), ids=REFUSED.keys())
def test_a_child_cannot_name_what_is_not_its_own_plain_file(plant: Plant, tmp_path: Path) -> None:
    output, secret = tmp_path / "output", tmp_path / "admin.key"
    output.mkdir()
    secret.write_text("hunter2")
    with pytest.raises(Invalid) as refused:
        returned_file(plant(output, secret), output)
    assert (refused.value.code, "admin.key" in refused.value.detail) == ("compute_result_refused", False)


def test_a_file_of_its_own_is_taken_if_hash_and_size_are_as_it_said(tmp_path: Path) -> None:
    named = _plain(tmp_path, tmp_path)
    sha256 = sha256_of_file(Path(named))
    assert returned_file(named, tmp_path) == Path(named)
    assert returned_file(named, tmp_path, sha256, 1) == Path(named)
    for wrong in ((sha256[::-1], 1), (sha256, 2), (7, 1)):
        with pytest.raises(Invalid):
            returned_file(named, tmp_path, *wrong)
