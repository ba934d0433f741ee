"""The machine that the api runs on."""

import asyncio
import os
import shutil
import stat
from pathlib import Path

from tidemill.features.health.findings import ok, problem, warning
from tidemill.schemas.health import CheckResult
from tidemill.settings.model import Settings

_LOW_SHARE, _FULL_SHARE = 0.1, 0.03
_CONTAINER_SECRETS = "/run/secrets/"
"""Readable by all within the container; who sees them outside is the host's affair."""


async def check_disk(settings: Settings) -> CheckResult:
    folder = _existing(settings.data_dir.resolve())
    if settings.object_store.url.startswith("file://"):
        folder = _existing(Path(settings.object_store.url.removeprefix("file://")).resolve())
    usage = await asyncio.to_thread(shutil.disk_usage, folder)
    share = usage.free / usage.total
    found = f"{share:.0%} of {usage.total / 1e9:.0f} GB are free."
    if share > _LOW_SHARE:
        return ok("disk", found)
    return (problem if share < _FULL_SHARE else warning)("disk", found, "Make room, or add some.")


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
