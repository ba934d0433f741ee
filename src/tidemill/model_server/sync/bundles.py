"""Bundles on the model server's own disk: fetched once, checked every time, unpacked for loading."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from tidemill.adapters.bundles import unpack_bundle
from tidemill.kit.errors import TidemillError
from tidemill.kit.hashing import sha256_of_file
from tidemill.kit.ids import uuid7
from tidemill.model_server.disk import StateDirectory, sync_directory

Download = Callable[[str, int, Path], Awaitable[None]]
"""``download(sha256, size_bytes, target)``."""


class BundleCache:
    def __init__(self, state: StateDirectory, download: Download) -> None:
        self._bundles = state.bundles
        self._models = state.models
        self._download = download
        self._clear()

    async def unpacked(self, sha256: str, size_bytes: int) -> Path:
        """A fresh folder with the files of a bundle, fetched if it is not here or was damaged.

        Raises Invalid for a bundle that cannot be trusted, Unavailable if it cannot be fetched.
        """
        bundle = await self._fetched(sha256, size_bytes)
        folder = self._models / f"{sha256[:16]}-{uuid7().hex}"
        try:
            await asyncio.to_thread(unpack_bundle, bundle, folder)
        except TidemillError:
            bundle.unlink(missing_ok=True)
            raise
        return folder

    def remove_unpacked(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    def keep_only(self, sha256s: Collection[str]) -> None:
        """Delete the bundles that nobody needs any more."""
        for path in self._bundles.glob("*.tar"):
            if path.stem not in sha256s:
                path.unlink(missing_ok=True)

    async def _fetched(self, sha256: str, size_bytes: int) -> Path:
        bundle = self._bundles / f"{sha256}.tar"
        if bundle.exists() and await asyncio.to_thread(sha256_of_file, bundle) == sha256:
            return bundle
        part = bundle.with_suffix(".part")
        try:
            await self._download(sha256, size_bytes, part)
            await asyncio.to_thread(_make_durable, part, bundle)
        finally:
            part.unlink(missing_ok=True)
        return bundle

    def _clear(self) -> None:
        """What an earlier process had unpacked, or left half fetched."""
        for folder in self._models.iterdir():
            shutil.rmtree(folder, ignore_errors=True)
        for part in self._bundles.glob("*.part"):
            part.unlink(missing_ok=True)


def _make_durable(part: Path, target: Path) -> None:
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    part.replace(target)
    sync_directory(target.parent)
