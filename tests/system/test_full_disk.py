"""A disk that is full: refused with a clear error, nothing lost, and all well again once there is room."""

import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.programs import left_out
from tidemill.adapters.object_store import open_object_store
from tidemill.kit.errors import Unavailable
from tidemill.settings.model import ObjectStoreSettings

_SIZE_BYTES = 24 * 2**20


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 24 MiB."""
    folder = Path(tempfile.mkdtemp(prefix="tidemill-small-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, timeout=10, check=False).returncode != 0:
        folder.rmdir()
        left_out("no right to mount a small file system", "run as root, outside of a container")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True, timeout=10)
        folder.rmdir()


async def _chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * (1 << 20)


async def test_a_full_object_store_refuses_keeps_what_it_has_and_goes_on_later(small_disk: Path) -> None:
    store = open_object_store(ObjectStoreSettings(url=f"file://{small_disk}/objects"))
    await store.put("kept", b"precious")
    with pytest.raises(Unavailable) as refused:
        await store.put_stream("large", _chunks(64), limit_bytes=1 << 30)
    assert refused.value.code == "disk_full"
    assert await store.get("kept") == b"precious"
    assert await store.list("") == ["kept"]
    await store.put_stream("small", _chunks(8), limit_bytes=1 << 30)
    assert await store.size("small") == 8 << 20
