"""Bundles on the model server's own disk: fetched once, checked every time, unpacked for loading."""

import asyncio
import contextlib
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from weakref import WeakValueDictionary

from tidemill.adapters.bundles import unpack_bundle
from tidemill.kit.errors import TidemillError
from tidemill.kit.hashing import sha256_of_file
from tidemill.kit.ids import uuid7
from tidemill.kit.trees import remove_tree
from tidemill.model_server.disk import Preparation, StateDirectory, sync_directory
from tidemill.model_server.quarantine import is_plain

log = logging.getLogger(__name__)

Download = Callable[[str, int, Path], Awaitable[None]]
"""``download(sha256, size_bytes, target)``."""


class BundleCache:
    def __init__(self, state: StateDirectory, download: Download) -> None:
        self._state = state
        self._bundles = state.bundles
        self._models = state.models
        self._quarantine = state.quarantine
        self._download = download
        self._cleared = Preparation(self._clear)
        self._fetching: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def unpacked(self, sha256: str, size_bytes: int) -> Path:
        """A fresh folder with the files of a bundle, fetched if it is not here or was damaged.

        Raises Invalid for a bundle that cannot be trusted, Unavailable if it cannot be fetched, OSError.
        """
        await asyncio.to_thread(self._prepare)
        # Two deployments may want the same model.
        async with self._fetching.setdefault(sha256, asyncio.Lock()):
            bundle = await self._fetched(sha256, size_bytes)
        folder = self._models / f"{sha256[:16]}-{uuid7().hex}"
        unpacking = asyncio.create_task(asyncio.to_thread(unpack_bundle, bundle, folder))
        try:
            await asyncio.shield(unpacking)
        except asyncio.CancelledError:
            unpacking.add_done_callback(lambda _: _remove_beside(folder))  # a thread goes on to its end
            raise
        except TidemillError:
            bundle.unlink(missing_ok=True)  # as the store holds it: no damage of this disk
            raise
        return folder

    def remove_unpacked(self, folder: Path) -> None:
        remove_tree(folder)

    def keep_only(self, sha256s: Collection[str]) -> None:
        """Delete the bundles that nobody needs any more."""
        for path in self._bundles.glob("*.tar"):
            if path.stem not in sha256s and is_plain(path):
                with contextlib.suppress(OSError):  # it costs room alone, and is looked at again with the next change
                    path.unlink(missing_ok=True)

    def _prepare(self) -> None:
        self._state.prepared.ensure()
        self._cleared.ensure()

    async def _fetched(self, sha256: str, size_bytes: int) -> Path:
        bundle = self._bundles / f"{sha256}.tar"
        if await asyncio.to_thread(self._is_whole, bundle, sha256, size_bytes):
            return bundle
        part = bundle.with_suffix(".part")
        try:
            await self._download(sha256, size_bytes, part)
            await asyncio.to_thread(_make_durable, part, bundle)
        finally:
            part.unlink(missing_ok=True)
        return bundle

    def _is_whole(self, bundle: Path, sha256: str, size_bytes: int) -> bool:
        """Whether the bundle is here as it was fetched; what else has its name is moved aside, to be fetched anew."""
        if not bundle.is_symlink() and not bundle.exists():
            return False
        try:
            if is_plain(bundle) and bundle.stat().st_size == size_bytes and sha256_of_file(bundle) == sha256:
                return True
        except OSError as error:
            log.warning("A bundle on disk cannot be read", extra={"reason": error.errno})
        self._quarantine.take(bundle, "bundle_damaged")
        return False

    def _clear(self) -> None:
        """What an earlier process had unpacked, or left half fetched: copies, so nothing is lost with them."""
        for path in (*self._models.iterdir(), *self._bundles.glob("*.part")):
            if is_plain(path, stat.S_IFDIR):
                remove_tree(path)
            else:
                path.unlink(missing_ok=True)


def _remove_beside(folder: Path) -> None:
    """Without keeping the event loop from others."""
    asyncio.get_running_loop().run_in_executor(None, remove_tree, folder)


def _make_durable(part: Path, target: Path) -> None:
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    part.replace(target)
    sync_directory(target.parent)
