"""Bundles: the same bytes for the same files, and nothing outside the folder."""

import io
import tarfile
from pathlib import Path

import pytest

from tidemill.adapters.bundles import BundleLimits, bundle_key, pack_bundle, unpack_bundle
from tidemill.kit.errors import Invalid, NotFound, TooLarge


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}")
    (folder / "data" / "weights").write_bytes(bytes(range(256)) * 100)
    return folder


def evil(path: Path, *members: tuple[str, bytes, bytes]) -> Path:
    """A tar of (name, type, content)."""
    with tarfile.open(path, "w") as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "/etc/passwd"
            tar.addfile(info, io.BytesIO(content))
    return path


def test_the_same_files_give_the_same_bytes_whenever_they_were_written(model: Path, tmp_path: Path) -> None:
    first = pack_bundle(model, tmp_path / "one.tar")
    for path in sorted(model.rglob("*"), reverse=True):
        path.touch()
        path.chmod(0o700)
    second = pack_bundle(model, tmp_path / "two.tar")
    assert first.sha256 == second.sha256
    assert bundle_key(first.sha256) == f"bundles/{first.sha256}.tar"


def test_unpacking_gives_the_files_back(model: Path, tmp_path: Path) -> None:
    packed = pack_bundle(model, tmp_path / "one.tar")
    unpack_bundle(packed.path, tmp_path / "again", packed.sha256)
    again = tmp_path / "again"
    files = {path.relative_to(again).as_posix(): path.read_bytes() for path in again.rglob("*") if path.is_file()}
    assert files == {"MLmodel": b"flavors: {}", "data/weights": bytes(range(256)) * 100}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../out", tarfile.REGTYPE),
        ("/abs", tarfile.REGTYPE),
        ("a/../../out", tarfile.REGTYPE),
        ("..\\out", tarfile.REGTYPE),
        ("link", tarfile.SYMTYPE),
        ("hard", tarfile.LNKTYPE),
        ("device", tarfile.CHRTYPE),
        ("pipe", tarfile.FIFOTYPE),
        ("d/" * 1500 + "file", tarfile.REGTYPE),
        ("d/" * 1500, tarfile.DIRTYPE),
    ],
)
def test_an_unsafe_member_is_refused_and_nothing_stays(tmp_path: Path, name: str, kind: bytes) -> None:
    content = b"x" if kind == tarfile.REGTYPE else b""
    bundle = evil(tmp_path / "evil.tar", ("good", tarfile.REGTYPE, b"fine"), (name, kind, content))
    with pytest.raises(Invalid) as refused:
        unpack_bundle(bundle, tmp_path / "target")
    assert refused.value.code == "bundle_member_unsafe"
    assert list((tmp_path / "target").iterdir()) == []
    assert not (tmp_path / "out").exists()


def test_a_folder_that_would_be_refused_for_its_depth_is_not_packed(model: Path, tmp_path: Path) -> None:
    deep = model.joinpath(*["d"] * 70)
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    with pytest.raises(Invalid) as refused:
        pack_bundle(model, tmp_path / "deep.tar")
    assert refused.value.code == "bundle_member_unsafe"


def test_a_duplicate_member_is_refused(tmp_path: Path) -> None:
    bundle = evil(tmp_path / "evil.tar", ("a", tarfile.REGTYPE, b"1"), ("./a", tarfile.REGTYPE, b"2"))
    with pytest.raises(Invalid, match="two members"):
        unpack_bundle(bundle, tmp_path / "target")


def test_damaged_and_foreign_bytes_are_refused(model: Path, tmp_path: Path) -> None:
    packed = pack_bundle(model, tmp_path / "one.tar")
    with pytest.raises(Invalid, match="SHA-256"):
        unpack_bundle(packed.path, tmp_path / "a", "0" * 64)
    (tmp_path / "cut.tar").write_bytes(packed.path.read_bytes()[:9000])
    (tmp_path / "text.tar").write_bytes(b"hello" * 300)
    for name in ("cut.tar", "text.tar"):
        with pytest.raises(Invalid) as refused:
            unpack_bundle(tmp_path / name, tmp_path / "b")
        assert refused.value.code == "bundle_corrupt"
        assert list((tmp_path / "b").iterdir()) == []


def test_limits_hold_both_ways(model: Path, tmp_path: Path) -> None:
    packed = pack_bundle(model, tmp_path / "one.tar")
    for limits in (BundleLimits(max_files=1), BundleLimits(max_bytes=1000)):
        with pytest.raises(TooLarge):
            unpack_bundle(packed.path, tmp_path / "target", limits=limits)
        with pytest.raises(TooLarge):
            pack_bundle(model, tmp_path / "two.tar", limits)


def test_links_and_empty_folders_are_not_packed(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound):
        pack_bundle(tmp_path / "empty", tmp_path / "one.tar")
    (model / "link").symlink_to("/etc/passwd")
    with pytest.raises(Invalid):
        pack_bundle(model, tmp_path / "one.tar")
