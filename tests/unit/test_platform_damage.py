"""What stands in the place of the embedded PostgreSQL's folder is never replaced, and never a traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tidemill.kit.errors import Conflict
from tidemill.platform.postgres import _has_cluster


def _foreign_folder(path: Path) -> None:
    path.mkdir()
    (path / "base").write_bytes(b"data")


def _folder_for_version(path: Path) -> None:
    (path / "PG_VERSION").mkdir(parents=True)


@pytest.mark.parametrize(
    "damage",
    [
        _foreign_folder,
        _folder_for_version,
        lambda path: path.write_bytes(b"\x00\xff"),
        lambda path: path.symlink_to(path.parent / "gone"),
    ],
    ids=["no PG_VERSION", "PG_VERSION is a folder", "a file", "a dangling link"],
)
def test_what_is_no_whole_database_is_refused_and_kept(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    folder = tmp_path / "postgres"
    damage(folder)
    with pytest.raises(Conflict, match=str(folder)):
        _has_cluster(folder)
    assert folder.is_symlink() or folder.exists()


def test_a_missing_or_empty_folder_is_set_up_anew(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    assert not _has_cluster(folder)
    folder.mkdir()
    assert not _has_cluster(folder)


def test_a_cluster_is_used(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("17\n")
    assert _has_cluster(tmp_path)
