"""A disk that is full: refused with a clear error, nothing lost, and all well again once there is room."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.disks import small_disk
from tidemill.adapters.object_store import open_object_store
from tidemill.kit.errors import Unavailable
from tidemill.settings.model import ObjectStoreSettings


@pytest.fixture
def disk() -> Iterator[Path]:
    """A file system of 24 MiB."""
    with small_disk(24 * 2**20) as made:
        yield made.path


async def _chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * (1 << 20)


async def test_a_full_object_store_refuses_keeps_what_it_has_and_goes_on_later(disk: Path) -> None:
    store = open_object_store(ObjectStoreSettings(url=f"file://{disk}/objects"))
    await store.put("kept", b"precious")
    with pytest.raises(Unavailable) as refused:
        await store.put_stream("large", _chunks(64), limit_bytes=1 << 30)
    assert refused.value.code == "disk_full"
    assert await store.get("kept") == b"precious"
    assert await store.list("") == ["kept"]
    await store.put_stream("small", _chunks(8), limit_bytes=1 << 30)
    assert await store.size("small") == 8 << 20
