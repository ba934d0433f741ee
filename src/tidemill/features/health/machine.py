"""The machine that the api runs on."""

import asyncio
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tidemill.features.health.findings import ok, problem, warning
from tidemill.schemas.health import CheckResult
from tidemill.settings.model import Settings

_LOW_SHARE, _FULL_SHARE = 0.1, 0.03
_CONTAINER_SECRETS = "/run/secrets/"
"""Readable by all within the container; who sees them outside is the host's affair."""


async def check_disk(settings: Settings) -> CheckResult:
    """Every disk that something of ours lies on; what is told is the one that is worst off."""
    disks = await asyncio.to_thread(_disks, _folders(settings))
    worst = min(disks, key=lambda disk: (not disk.is_read_only, disk.share))
    if worst.is_read_only:
        return problem("disk", f"{worst.folder} is on a disk that is read-only.", "Look at what the kernel says of it.")
    if worst.share > _LOW_SHARE:
        return ok("disk", worst.said)
    return (problem if worst.share < _FULL_SHARE else warning)("disk", worst.said, "Make room, or add some.")


@dataclass(frozen=True)
class _Disk:
    """share: of its bytes, or of the files that it can hold, whichever is scarcer."""

    folder: Path
    share: float
    said: str
    is_read_only: bool


def _folders(settings: Settings) -> list[Path]:
    """Those on this machine; a model server may be on another one."""
    found = [settings.data_dir, settings.model_server.state_dir]
    found += [settings.worker.scratch_dir] if settings.worker.scratch_dir else []
    if settings.object_store.url.startswith("file://"):
        found.append(Path(settings.object_store.url.removeprefix("file://")))
    return found


def _disks(folders: Iterable[Path]) -> list[_Disk]:
    by_device: dict[int, Path] = {}
    for folder in folders:
        existing = _existing(folder.absolute())
        by_device.setdefault(existing.stat().st_dev, existing)
    return [_disk(folder) for folder in by_device.values()]


def _disk(folder: Path) -> _Disk:
    found = os.statvfs(folder)
    total = found.f_blocks * found.f_frsize
    free = found.f_bavail / found.f_blocks if found.f_blocks else 1.0
    files = found.f_favail / found.f_files if found.f_files else 1.0  # some count none
    said = f"{free:.0%} of {total / 1e9:.1f} GB" if free <= files else f"{files:.0%} of {found.f_files} files"
    is_read_only = bool(found.f_flag & os.ST_RDONLY)
    return _Disk(folder, min(free, files), f"{said} are free where {folder} lies.", is_read_only)


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


async def check_secrets() -> CheckResult:
    """Files that TIDEMILL_..._FILE name must not be readable by everybody."""
    named = {
        name: value for name, value in os.environ.items() if name.startswith("TIDEMILL_") and name.endswith("_FILE")
    }
    open_ones = [name for name, value in sorted(named.items()) if await asyncio.to_thread(_is_open, value)]
    if open_ones:
        return warning("secrets", f"Readable by everybody: the files of {', '.join(open_ones)}.", "chmod 600 them.")
    return ok("secrets", f"{len(named)} files, none readable by everybody.")


def _is_open(file: str) -> bool:
    if file.startswith(_CONTAINER_SECRETS):
        return False
    try:
        return bool(Path(file).stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
