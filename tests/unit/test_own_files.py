"""Paths that must be ours: made closed, and refused when somebody else made them."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tidemill.adapters.object_store import open_object_store
from tidemill.jobs.scratch import ScratchSpace
from tidemill.kit.errors import Forbidden, NotFound, TidemillError
from tidemill.kit.own_files import checked_folder, open_own, own_folder, read_own, resolved, write_private
from tidemill.model_server.disk import StateDirectory
from tidemill.model_server.slots import Slots
from tidemill.platform import postgres
from tidemill.platform.layout import Layout
from tidemill.settings.model import ObjectStoreSettings

SOMEBODY = 4242
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file to another user")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_is_made_closed_and_stays_as_it_is_but_for_the_write_of_its_group(tmp_path: Path) -> None:
    made = own_folder(tmp_path / "a" / "b")
    assert mode(made) == 0o700
    for before, after in ((0o750, 0o750), (0o775, 0o755), (0o711, 0o711)):
        made.chmod(before)
        own_folder(made)
        assert mode(made) == after


@pytest.mark.parametrize("bits", [0o777, 0o1777, 0o702])
def test_a_folder_that_everybody_may_write_to_is_refused(tmp_path: Path, bits: int) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(bits)
    with pytest.raises(Forbidden, match="chmod o-w"):
        own_folder(tmp_path / "open")
    assert mode(tmp_path / "open") == bits


def test_what_is_no_folder_or_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Forbidden):
        read_own(tmp_path)
    with pytest.raises(Forbidden):
        read_own(tmp_path / "pipe")
    with pytest.raises(NotFound):
        read_own(tmp_path / "none")
    with pytest.raises(NotFound):
        checked_folder(tmp_path / "none")


def test_a_secret_is_closed_from_its_first_byte_and_no_link_is_written_through(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    for name in ("secret", "secret.part"):
        (tmp_path / name).symlink_to(elsewhere)
    old = os.umask(0)
    try:
        write_private(tmp_path / "secret", "text")
    finally:
        os.umask(old)
    assert (read_own(tmp_path / "secret"), mode(tmp_path / "secret")) == ("text", 0o600)
    assert elsewhere.read_text() == "kept"


def test_a_file_that_is_a_link_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_APPEND):
        with pytest.raises(Forbidden):
            open_own(tmp_path / "link", flags)


def test_links_of_ours_may_lead_to_another_disk_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "one").symlink_to(tmp_path / "disk")
    (tmp_path / "two").symlink_to("one")
    assert own_folder(tmp_path / "two" / "data") == tmp_path / "disk" / "data"
    (tmp_path / "round").symlink_to(tmp_path / "round")
    with pytest.raises(Forbidden):
        resolved(tmp_path / "round" / "x")


@needs_root
def test_a_link_of_somebody_else_is_not_followed_wherever_it_is_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "theirs").symlink_to(tmp_path / "target")
    os.chown(tmp_path / "theirs", SOMEBODY, SOMEBODY, follow_symlinks=False)
    (tmp_path / "ours").symlink_to(tmp_path / "theirs")
    for path in (tmp_path / "theirs", tmp_path / "theirs" / "below", tmp_path / "ours" / "below"):
        for check in (resolved, own_folder, checked_folder):
            with pytest.raises(Forbidden):
                check(path)
    assert list((tmp_path / "target").iterdir()) == []


def _of_somebody(folder: Path) -> Path:
    folder.mkdir()
    os.chown(folder, SOMEBODY, SOMEBODY)
    return folder


@needs_root
@pytest.mark.parametrize(
    "use",
    [
        own_folder,
        checked_folder,
        lambda folder: Layout(folder).create(),
        StateDirectory,
        lambda folder: Slots(folder, 2),
        lambda folder: ScratchSpace(folder)._folder(),
        lambda folder: ScratchSpace(folder).remove_abandoned(),
        lambda folder: open_object_store(ObjectStoreSettings(url=f"file://{folder}")),
    ],
)
def test_a_folder_of_somebody_else_is_refused_by_all_who_keep_something_in_one(
    tmp_path: Path, use: Callable[[Path], object]
) -> None:
    folder = _of_somebody(tmp_path / "theirs")
    with pytest.raises(Forbidden, match="another user"):
        use(folder)
    assert list(folder.iterdir()) == []


@needs_root
def test_a_place_where_somebody_else_could_exchange_the_folder_is_refused(tmp_path: Path) -> None:
    theirs = _of_somebody(tmp_path / "theirs")
    (ours := theirs / "between" / "ours").mkdir(parents=True)
    for check in (own_folder, checked_folder):
        with pytest.raises(Forbidden) as refused:
            check(ours)
        assert refused.value.code == "place_foreign"
    with pytest.raises(Forbidden):
        own_folder(theirs / "new")
    assert sorted(path.name for path in theirs.iterdir()) == ["between"]


def test_a_place_that_everybody_may_write_to_is_refused_unless_it_has_the_sticky_bit(tmp_path: Path) -> None:
    (place := tmp_path / "open").mkdir()
    place.chmod(0o777)
    with pytest.raises(Forbidden) as refused:
        own_folder(place / "ours")
    assert refused.value.code == "place_open"
    place.chmod(0o1777)
    assert checked_folder(own_folder(place / "ours")) == place / "ours"


@needs_root
def test_a_slot_of_somebody_else_is_passed_over(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "slots", 2)
    _of_somebody(tmp_path / "slots" / "slot-000")
    claimed = slots.claim()
    assert claimed.root.name == "slot-001"
    claimed.close()


@needs_root
@pytest.mark.parametrize("name", ["admin_key", "lock", "processes", "addresses"])
def test_a_file_of_somebody_else_in_our_folder_is_refused(tmp_path: Path, name: str) -> None:
    file: Path = getattr(Layout(tmp_path), name)
    file.write_text("planted")
    os.chown(file, SOMEBODY, SOMEBODY)
    with pytest.raises(Forbidden):
        read_own(file)


@needs_root
def test_sockets_below_the_temporary_directory_are_not_put_where_somebody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    layout = Layout(tmp_path / ("long" * 30))
    assert layout.sockets.parent == tmp_path
    _of_somebody(layout.sockets)
    for check in (lambda: postgres.prepare(layout, None), lambda: postgres.check_sockets(layout)):
        with pytest.raises(TidemillError, match="another user"):
            check()
    layout.sockets.rmdir()
    own_folder(layout.sockets)
    postgres.check_sockets(layout)
