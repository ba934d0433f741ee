"""What stands in the place of the embedded PostgreSQL's folder is never replaced, and never a traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tidemill.cli import context
from tidemill.jobs.scratch import ScratchSpace
from tidemill.kit.errors import Conflict, TidemillError
from tidemill.platform.keys import ensure_token
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


def test_a_token_that_is_no_text_is_refused_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.token"
    file.write_bytes(b"\x00\xff\xfe")
    file.chmod(0o600)
    with pytest.raises(Conflict, match=str(file)):
        ensure_token(file)
    assert file.read_bytes() == b"\x00\xff\xfe"


@pytest.mark.parametrize(
    "content", [b"\x00\xff", b"5", b"[1]", b'{"api": 5}', b"{"], ids=["binary", "number", "list", "types", "cut"]
)
def test_damaged_addresses_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    file = tmp_path / context.ADDRESSES_FILE
    file.write_bytes(content)
    file.chmod(0o600)
    monkeypatch.setattr(context.state, "data_dir", tmp_path)
    with pytest.raises(TidemillError, match=context.ADDRESSES_FILE):
        context._addresses()


def test_what_no_worker_made_stays_in_scratch_and_stops_no_worker(tmp_path: Path) -> None:
    (tmp_path / "worker-file").write_bytes(b"x")
    (tmp_path / "worker-link").symlink_to(tmp_path / "gone")
    (tmp_path / "worker-folder" / "lock").mkdir(parents=True)
    assert ScratchSpace(tmp_path).remove_abandoned() == 0
    assert len(list(tmp_path.iterdir())) == 3
