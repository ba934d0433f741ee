"""Bundles: a model directory as one deterministic tar, all that a model server needs.

The same files give the same bytes, so a bundle's SHA-256 names its content. Unpacking trusts nothing: a bundle comes
over the network, and a tar can name paths outside its folder, links, devices, or more bytes than the disk holds.
"""

import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tidemill.kit.errors import Invalid, NotFound, TooLarge
from tidemill.kit.hashing import sha256_of_file
from tidemill.kit.trees import MAX_DEPTH, remove_tree, tree_size

_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class BundleLimits:
    """The most that one bundle may hold."""

    max_files: int = 10_000
    max_bytes: int = 20 * 2**30


@dataclass(frozen=True, slots=True)
class PackedBundle:
    path: Path
    sha256: str
    size_bytes: int


def bundle_key(sha256: str) -> str:
    """Where the object store keeps the bundle."""
    return f"bundles/{sha256}.tar"


def pack_bundle(directory: Path, target: Path, limits: BundleLimits | None = None) -> PackedBundle:
    """Write all files below ``directory`` to the tar ``target``: sorted names, no times, no owners, no compression.

    Raises NotFound for an empty directory, Invalid for anything that is neither file nor folder, TooLarge past a limit.
    """
    limits = limits or BundleLimits()
    files = _files_of(directory, limits)
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in files:
            with path.open("rb") as stream:
                tar.addfile(_header(path.relative_to(directory).as_posix(), path.stat().st_size), stream)
    return PackedBundle(target, sha256_of_file(target), target.stat().st_size)


def unpack_bundle(bundle: Path, directory: Path, sha256: str | None = None, limits: BundleLimits | None = None) -> None:
    """Unpack into ``directory``, which is created and must be empty; a refused bundle leaves nothing behind.

    Raises Invalid if the bytes are not those of ``sha256``, or if a member is a link, a device, a duplicate or lies
    outside; TooLarge past a limit.
    """
    if sha256 is not None and sha256_of_file(bundle) != sha256:
        raise Invalid("bundle_corrupt", "The bundle's bytes do not have the expected SHA-256.")
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise Invalid("bundle_target_not_empty", "A bundle is unpacked into an empty directory only.")
    try:
        with tarfile.open(bundle, "r:") as tar:
            _extract(tar, directory, limits or BundleLimits())
    except tarfile.TarError:
        _empty(directory)
        raise Invalid("bundle_corrupt", "The bundle is not a readable tar.") from None
    except BaseException:
        _empty(directory)
        raise


def _files_of(directory: Path, limits: BundleLimits) -> list[Path]:
    if not tree_size(directory, 2 * limits.max_files).is_whole:
        raise Invalid("bundle_member_unsafe", f"The folders of a model lie at most {MAX_DEPTH} deep.")
    files, size = [], 0
    for path in sorted(directory.rglob("*"), key=lambda path: path.relative_to(directory).as_posix()):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise Invalid("bundle_member_unsafe", "A model directory may hold files and folders only, no links.")
        if path.is_file():
            files.append(path)
            size += path.stat().st_size
            _check_limits(len(files), size, limits)
    if not files:
        raise NotFound("model_directory_empty", "The model directory holds no files.")
    return files


def _header(name: str, size_bytes: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size = size_bytes
    header.mode = 0o644
    return header


def _extract(tar: tarfile.TarFile, directory: Path, limits: BundleLimits) -> None:
    seen: set[str] = set()
    size = 0
    for number, member in enumerate(tar, start=1):
        size += member.size
        _check_limits(number, size, limits)
        target = directory / _safe_name(member, seen)
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        content = tar.extractfile(member)
        assert content is not None
        with content, target.open("xb") as out:
            _copy_exactly(content, out, member.size)


def _safe_name(member: tarfile.TarInfo, seen: set[str]) -> PurePosixPath:
    name = PurePosixPath(member.name)
    plain = member.isreg() or member.isdir()
    inside = bool(name.parts) and not name.is_absolute() and ".." not in name.parts
    if not plain or member.issparse() or not inside or "\\" in member.name or "\0" in member.name:
        raise Invalid("bundle_member_unsafe", "The bundle holds a link, a device or a path outside its folder.")
    if len(name.parts) > MAX_DEPTH:
        raise Invalid("bundle_member_unsafe", f"A bundle's folders lie at most {MAX_DEPTH} deep.")
    if name.as_posix() in seen:
        raise Invalid("bundle_member_duplicate", "The bundle holds two members of the same name.")
    seen.add(name.as_posix())
    return name


def _copy_exactly(source: IO[bytes], out: IO[bytes], size_bytes: int) -> None:
    left = size_bytes
    while left > 0 and (chunk := source.read(min(left, _COPY_BYTES))):
        out.write(chunk)
        left -= len(chunk)
    if left:
        raise Invalid("bundle_corrupt", "The bundle ends in the middle of a file.")


def _check_limits(files: int, size_bytes: int, limits: BundleLimits) -> None:
    if files > limits.max_files:
        raise TooLarge("bundle_too_many_files", f"A bundle holds at most {limits.max_files} files.")
    if size_bytes > limits.max_bytes:
        raise TooLarge("bundle_too_large", f"A bundle holds at most {limits.max_bytes} bytes.")


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir():
            remove_tree(path)
        else:
            path.unlink(missing_ok=True)
