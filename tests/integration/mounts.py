"""A folder that can be taken away as a disk is: an empty mount point stays in its place."""

from pathlib import Path

from tidemill.adapters.object_store import ObjectStore, StoredObject, open_object_store
from tidemill.db.engine import SessionFactory
from tidemill.features.stores import service as stores
from tidemill.settings.model import ObjectStoreSettings


class Mount:
    """The folder ``path``, mounted at first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._away = path.with_name(path.name + "-away")

    def unmount(self) -> None:
        self.path.rename(self._away)
        self.path.mkdir(mode=0o700)

    def mount(self) -> None:
        """Raises OSError if something was written into the mount point."""
        self.path.rmdir()
        self._away.rename(self.path)


def opened(folder: Path, sessions: SessionFactory) -> ObjectStore:
    """As api and worker open it."""
    store = open_object_store(ObjectStoreSettings(url=f"file://{folder}"))
    stores.bind(store, sessions)
    return store


class UnmountedAtUpload(ObjectStore):
    """A store whose disk is unmounted when the first key that contains ``part`` is uploaded."""

    def __init__(self, mount: Mount, sessions: SessionFactory, part: str) -> None:
        super().__init__(opened(mount.path, sessions)._backend)
        stores.bind(self, sessions)
        self._mount: Mount | None = mount
        self._part = part

    async def upload(self, key: str, path: Path) -> StoredObject:
        if self._mount is not None and self._part in key:
            self._mount.unmount()
            self._mount = None
        return await super().upload(key, path)
