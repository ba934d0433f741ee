"""The other object store that a stack can have by one setting, where its image is (`make stack-images` pulls it)."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.stack.compose import Stack, image_of, is_present

_CHECK = """
import asyncio
from tidemill.adapters.object_store import open_object_store
from tidemill.settings.sources import load_settings
async def pieces():
    for _ in range(20):
        yield bytes(2**20)
async def main():
    store = open_object_store(load_settings().object_store)
    stored = await store.put_stream("a/large", pieces(), 2**30)
    await store.move("a/large", "b/large")
    assert (await store.list("a/"), await store.list("b/")) == ([], ["b/large"])
    assert sum([len(piece) async for piece in store.stream("b/large")]) == stored.size_bytes == 20 * 2**20
    await store.delete(["b/large"])
    assert not await store.exists("b/large")
asyncio.run(main())
"""


@pytest.fixture
def seaweedfs(stack: Stack) -> Iterator[Stack]:
    """Nothing of a stack but its object store."""
    if not is_present(image_of("object-store-seaweedfs.yaml", "object-store")):
        pytest.skip("this machine has no image of SeaweedFS")
    yield from only_the_store(stack, "seaweedfs")


def only_the_store(stack: Stack, kind: str) -> Iterator[Stack]:
    project = f"{stack.project}-{kind}"
    own = {"COMPOSE_PROJECT_NAME": project, "TIDEMILL_OBJECT_STORE_KIND": kind}
    other = replace(stack, project=project, environment={**stack.environment, **own})
    try:
        other.up("object-store")
        yield other
    finally:
        other.compose("down", "--volumes", timeout_seconds=180)


def test_objects_are_kept_and_found_in_seaweedfs(seaweedfs: Stack) -> None:
    seaweedfs.compose("run", "--rm", "create-bucket")
    seaweedfs.compose("run", "--rm", "create-bucket", "python", "-c", _CHECK)
