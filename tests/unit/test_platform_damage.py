"""What stands in the place of the platform's own files is never replaced unsaid, and never a traceback."""

import os
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from alembic.util import CommandError

from tidemill.admin.keys import KeyFile, refuse_weak_key
from tidemill.auth.scopes import Scope
from tidemill.cli import context
from tidemill.jobs.scratch import ScratchSpace
from tidemill.kit.errors import Conflict, Forbidden, Invalid, Refused, TidemillError
from tidemill.kit.own_files import own_folder, read_own, told, write_private
from tidemill.platform import cluster, postgres
from tidemill.platform.children import require_log_files
from tidemill.platform.keys import SecretFiles
from tidemill.platform.layout import Layout
from tidemill.settings.sources import load_settings

_GOOD_TOKEN = "A" * 40 + "-_9"


def _postgres_with(**files: bytes) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)

    return make


def _folder_for_version(path: Path) -> None:
    (path / "PG_VERSION").mkdir(parents=True)


def _without_control_file(path: Path) -> None:
    _postgres_with(PG_VERSION=b"18\n")(path)


def _with_damaged_control_file(path: Path) -> None:
    _without_control_file(path)
    (path / "global").mkdir()
    (path / "global" / "pg_control").write_bytes(b"\x00" * 8192)


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (_postgres_with(base=b"data"), "postgres_damaged"),
        (_folder_for_version, "postgres_damaged"),
        (lambda path: path.write_bytes(b"\x00\xff"), "postgres_damaged"),
        (lambda path: path.symlink_to(path.parent / "gone"), "postgres_damaged"),
        (_postgres_with(PG_VERSION=b""), "postgres_damaged"),
        (_postgres_with(PG_VERSION=b"\x00\xff\n"), "postgres_damaged"),
        (_postgres_with(PG_VERSION=b"18\n" * 100), "postgres_damaged"),
        (_postgres_with(PG_VERSION=b"17\n"), "postgres_version_other"),
        (_postgres_with(PG_VERSION=b"99\r\n"), "postgres_version_other"),
        (_postgres_with(PG_VERSION=b"9.6\n"), "postgres_version_other"),
        (_without_control_file, "postgres_damaged"),
        (_with_damaged_control_file, "postgres_damaged"),
    ],
    ids=["no PG_VERSION", "PG_VERSION is a folder", "a file", "a dangling link", "empty", "rubbish", "long", "older",
         "newer", "two numbers", "no pg_control", "zeros in pg_control"],
)  # fmt: skip
def test_what_is_no_whole_database_of_our_version_is_refused_and_kept(
    tmp_path: Path, damage: Callable[[Path], object], code: str
) -> None:
    folder = tmp_path / "postgres"
    damage(folder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((Conflict, Refused), match=str(folder)) as refused:
        cluster.exists(folder, None)
    assert refused.value.code == code
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_or_empty_folder_is_set_up_anew_unless_there_was_a_database(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert not cluster.exists(layout.postgres, None)
    layout.postgres.mkdir()
    assert not cluster.exists(layout.postgres, None)
    cluster.refuse_lost(layout)
    layout.admin_key.write_text("tm_")
    with pytest.raises(Conflict, match="not mounted"):
        cluster.refuse_lost(layout)


def _unfinished(folder: Path, mark: bytes | None, **files: bytes) -> None:
    (folder / "cluster" / "base").mkdir(parents=True)
    if mark is not None:
        (folder / "unfinished").write_bytes(mark)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_only_what_a_start_that_broke_off_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "postgres.new"
    cluster.remove_unfinished(folder)
    for _ in range(2):  # the second time over what the first has left
        making = cluster.begin(folder)
        assert list(making.iterdir()) == []
        (making / "PG_VERSION").write_text("18\n")
    cluster.remove_unfinished(folder)
    assert not folder.exists()


@pytest.mark.parametrize(
    "make",
    [
        _postgres_with(PG_VERSION=b"18\n"),
        lambda path: _unfinished(path, None),
        lambda path: _unfinished(path, b"x"),
        lambda path: _unfinished(path, b""),
        lambda path: _unfinished(path, cluster._MARK_TEXT.encode(), mine=b"x"),
        lambda path: path.write_bytes(b"x"),
        lambda path: path.symlink_to(path.parent),
    ],
    ids=["a database", "no mark", "another mark", "an empty mark", "more in it", "a file", "a link"],
)
def test_what_has_the_name_of_an_unfinished_database_without_its_mark_stays(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    folder = tmp_path / "postgres.new"
    make(folder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Conflict, match=str(folder)):
        cluster.begin(folder)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"rubbish\n", b"\x00\xff", b"1\n/elsewhere\n", b"-5\n", b"9" * 40])
def test_a_lock_of_a_postgresql_that_is_gone_does_not_hold_up_a_start(tmp_path: Path, content: bytes) -> None:
    layout = Layout(tmp_path)
    for folder, name in ((layout.postgres, "postmaster.pid"), (layout.sockets, ".s.PGSQL.5432.lock")):
        folder.mkdir()
        (folder / name).write_bytes(content)
    cluster.remove_stale_locks(layout)
    assert list(layout.postgres.iterdir()) + list(layout.sockets.iterdir()) == []


def test_what_is_in_the_place_of_a_lock_and_is_none_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.sockets.mkdir()
    (layout.postgres / "postmaster.pid").mkdir(parents=True)
    with pytest.raises(Conflict, match=r"postmaster\.pid"):
        cluster.remove_stale_locks(layout)
    (layout.sockets / ".s.PGSQL.5432").mkdir()
    with pytest.raises(Conflict, match=r"\.s\.PGSQL\.5432"):
        cluster.remove_stale_locks(layout)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("2026 LOG:  a\n2026 FATAL:  no room\n2026 DETAIL:  here\n2026 LOG:  bye\n", ": no room. here. If"),
        ("postgres: could not access it\n\n", ": postgres: could not access it. If"),
        ("FATAL:  could not write: No space left on device", "Make room"),
        ("", "it said nothing"),
    ],
)
def test_what_postgresql_said_last_is_one_sentence_of_ours(tmp_path: Path, said: str, words: str) -> None:
    refused = cluster.refusal(Layout(tmp_path), said)
    assert words in refused.detail
    assert str(tmp_path / "postgres") in refused.detail
    assert "\n" not in refused.detail


@pytest.mark.parametrize(
    "content",
    [b"\x00\xff\xfe", b"", b" \r\n", b"tm_local_x", _GOOD_TOKEN[:-1].encode(), f"{_GOOD_TOKEN}x".encode(),
     f"{_GOOD_TOKEN[:20]}\n{_GOOD_TOKEN[20:]}".encode(), b"\xef\xbb\xbf" + _GOOD_TOKEN.encode()],
    ids=["no text", "empty", "blank", "another form", "cut", "longer", "two lines", "byte order mark"],
)  # fmt: skip
def test_a_token_that_is_none_of_ours_is_kept_aside_told_and_made_anew(tmp_path: Path, content: bytes) -> None:
    file, said = tmp_path / "mlflow.token", list[tuple[Path, Path, str]]()
    file.write_bytes(content)
    secrets = SecretFiles(tmp_path / "quarantine", lambda *each: said.append(each))
    secrets.ensure_token(file)
    assert [(each[0], each[1].read_bytes()) for each in said] == [(file, content)]
    assert said[0][1].parent == tmp_path / "quarantine"
    made = file.read_text()
    assert (len(made), file.stat().st_mode & 0o777) == (44, 0o600)
    secrets.ensure_token(file)
    assert (file.read_text(), len(said)) == (made, 1)


def test_a_token_keeps_with_the_line_ends_of_another_system(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.token"
    file.write_bytes(f" {_GOOD_TOKEN}\r\n".encode())
    SecretFiles(tmp_path / "quarantine", lambda *_: pytest.fail("nothing is wrong with it")).ensure_token(file)
    assert file.read_bytes() == f" {_GOOD_TOKEN}\r\n".encode()


def _link_elsewhere(path: Path) -> None:
    (path.parent / "elsewhere").write_text("kept")
    path.symlink_to(path.parent / "elsewhere")


IN_PLACE_OF_A_FILE: dict[str, Callable[[Path], object]] = {
    "a folder": lambda path: path.mkdir(),
    "a dangling link": lambda path: path.symlink_to(path.parent / "gone"),
    "a link elsewhere": _link_elsewhere,
    "a pipe": os.mkfifo,
    "far too large": lambda path: path.write_bytes(b"x" * (2**20 + 1)),
}


@pytest.mark.parametrize("kind", IN_PLACE_OF_A_FILE)
def test_what_is_in_the_place_of_a_secret_and_is_no_small_file_of_ours_is_refused_and_stays(
    tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "mlflow.token"
    IN_PLACE_OF_A_FILE[kind](file)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Forbidden, match=str(file)):
        SecretFiles(tmp_path / "quarantine", lambda *_: None).ensure_token(file)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_that_is_closed_to_us_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.token"
    file.write_text(_GOOD_TOKEN)
    file.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(Forbidden, match=str(file)):
            read_own(file)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("name", ["objects", "scratch", "logs", "model-server"])
@pytest.mark.parametrize("kind", ["a file", "a dangling link", "a dangling link below"])
def test_what_is_in_the_place_of_a_folder_is_refused_and_nothing_is_made_elsewhere(
    tmp_path: Path, name: str, kind: str
) -> None:
    path, root, target = tmp_path / "data" / name, tmp_path / "data", tmp_path / "disk" / "gone"
    target.parent.mkdir()
    if kind == "a dangling link below":
        (tmp_path / "link").symlink_to(target)
        path = root = tmp_path / "link" / "data"
    else:
        root.mkdir()
        path.write_text("x") if kind == "a file" else path.symlink_to(target)
    with pytest.raises(Forbidden):
        Layout(root).create()
    assert not target.exists()


def test_a_link_to_a_folder_that_is_there_is_an_operators_choice(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "objects").symlink_to(tmp_path / "disk")
    assert own_folder(tmp_path / "objects") == tmp_path / "disk"


@pytest.mark.parametrize("kind", [kind for kind in IN_PLACE_OF_A_FILE if kind != "far too large"])
@pytest.mark.parametrize("suffix", ["", ".1"])
def test_what_is_in_the_place_of_a_log_is_refused_before_its_process_starts(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    log = tmp_path / "api.log"
    require_log_files(log)
    IN_PLACE_OF_A_FILE[kind](tmp_path / f"api.log{suffix}")
    with pytest.raises(Forbidden, match=r"api\.log"):
        require_log_files(log)


@pytest.mark.parametrize("name", ["addresses.json", "addresses.json.part"])
def test_a_folder_in_the_place_of_the_addresses_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    layout = Layout(tmp_path)
    with pytest.raises(Forbidden, match=name):
        write_private(layout.addresses, "{}")
    if name == layout.addresses.name:
        with pytest.raises(Forbidden, match=name):
            layout.remove_addresses()


@pytest.mark.parametrize("content", [b"", b"\r\n", b"rubbish", b"tm_a\nb", b"tm_\xc3\xa4", b"\xff"])
def test_a_damaged_key_file_is_one_sentence_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    file = tmp_path / context.KEY_FILE
    file.write_bytes(content)
    monkeypatch.setattr(context.state, "data_dir", tmp_path)
    with pytest.raises((Invalid, Forbidden), match=str(file)):
        context._key_of_data_dir()


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


@pytest.mark.parametrize("content", [None, b"", b"x", b"A worker of Tidemill keeps", b"\x00" * 100])
def test_what_does_not_carry_a_workers_mark_stays_in_scratch_and_is_told(
    tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "worker-file").write_bytes(b"x")
    (tmp_path / "worker-link").symlink_to(tmp_path / "gone")
    (tmp_path / "worker-folder" / "lock").mkdir(parents=True)
    (tmp_path / "worker-pipe").mkdir()
    os.mkfifo(tmp_path / "worker-pipe" / "lock")
    (tmp_path / "worker-1a2b3c4d").mkdir()
    (tmp_path / "worker-1a2b3c4d" / "only-copy").write_bytes(b"x")
    if content is not None:
        (tmp_path / "worker-1a2b3c4d" / "lock").write_bytes(content)
    before = sorted(tmp_path.rglob("*"))
    assert ScratchSpace(tmp_path).remove_abandoned() == 0
    assert sorted(tmp_path.rglob("*")) == before
    assert [record.__dict__["reason"] for record in caplog.records] == ["5 names"]


def test_settings_in_files_that_are_no_text_are_told(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"\x00\xff")
    for variable in ("TIDEMILL_MLFLOW__TOKEN_FILE", "TIDEMILL_CONFIG"):
        with pytest.raises(Invalid, match="no text"):
            load_settings({variable: str(file)})
    with pytest.raises(Invalid, match="no text"):
        refuse_weak_key(KeyFile("admin", [Scope.ADMIN], file), "local")


def test_what_a_disk_refuses_is_one_sentence_with_its_place() -> None:
    closed, full = PermissionError(13, "Permission denied", "/a"), OSError(28, "No space left on device", "/b")
    assert (told(closed).code, told(full).code) == ("path_unreadable", "disk_unavailable")
    assert ("/a" in told(closed).detail, "/b" in told(full).detail) == (True, True)


@pytest.mark.parametrize(
    ("error", "code", "restores"),
    [
        (psycopg.errors.DuplicateTable("relation exists"), "database_not_prepared", False),
        (CommandError("Can't locate revision"), "database_not_prepared", False),
        (psycopg.errors.DataCorrupted("invalid page"), "postgres_start_failed", True),
        (psycopg.errors.UndefinedFile("could not open file"), "postgres_start_failed", True),
        (psycopg.OperationalError('FATAL:  database "tidemill" does not exist'), "postgres_start_failed", True),
        (psycopg.errors.DiskFull("No space left on device"), "disk_full", False),
    ],
)
def test_only_what_damage_can_have_caused_is_told_to_be_damage(
    error: Exception, code: str, restores: bool, tmp_path: Path
) -> None:
    with pytest.raises(TidemillError) as told_of, postgres.explained(Layout(tmp_path)):
        raise error
    assert (told_of.value.code, "restore a backup" in told_of.value.detail) == (code, restores)
