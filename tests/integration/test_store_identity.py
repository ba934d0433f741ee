"""A folder that is not the platform's store, such as the mount point of a disk that is away, is not an empty store."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tidemill.adapters.object_store import ObjectStore, open_object_store
from tidemill.adapters.store_mark import FOREIGN
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.stores import StoreIdentity
from tidemill.features.stores import service as stores
from tidemill.kit.errors import NotFound, Unavailable
from tidemill.settings.model import ObjectStoreSettings


def opened(folder: Path, sessions: SessionFactory) -> ObjectStore:
    store = open_object_store(ObjectStoreSettings(url=f"file://{folder}"))
    stores.bind(store, sessions)
    return store


async def chunks() -> AsyncIterator[bytes]:
    yield b"x"


async def refused(store: ObjectStore) -> None:
    """Every operation that would take an absence for the truth, or write into the wrong place."""
    for operation in (
        store.get("missing"),
        store.size("missing"),
        store.exists("missing"),
        store.put("b", b"y"),
        store.put_stream("c", chunks(), 10),
        store.upload("d", Path(__file__)),
        store.move("missing", "e"),
        store.delete(["missing"]),
        store.sha256("missing"),
    ):
        with pytest.raises(Unavailable) as away:
            await operation
        assert away.value.code == FOREIGN
    assert not await store.is_right()


async def test_an_unmounted_folder_is_unavailable_and_nothing_is_written_into_its_mount_point(
    sessions: SessionFactory, tmp_path: Path
) -> None:
    mounted, away = tmp_path / "objects", tmp_path / "away"
    store = opened(mounted, sessions)
    await store.put("a", b"x")
    assert await store.is_right()
    mounted.rename(away)
    await refused(store)  # the folder vanished
    mounted.mkdir()
    await refused(store)  # the empty mount point
    await refused(opened(mounted, sessions))  # a process that starts meanwhile
    assert list(mounted.iterdir()) == []
    mounted.rmdir()
    away.rename(mounted)
    assert await store.get("a") == b"x"
    assert await store.is_right()
    with pytest.raises(NotFound):
        await store.get("b")


async def test_a_store_of_another_platform_is_refused(sessions: SessionFactory, tmp_path: Path) -> None:
    store = opened(tmp_path / "objects", sessions)
    await store.put("a", b"x")
    await store.write_mark("store_of_somebody_else")
    await refused(store)


async def test_processes_that_start_side_by_side_agree_on_one_identity(
    sessions: SessionFactory, tmp_path: Path
) -> None:
    opened_stores = [opened(tmp_path / "objects", sessions) for _ in range(5)]
    await asyncio.gather(*(store.put(f"a{number}", b"x") for number, store in enumerate(opened_stores)))
    assert len({await stores.settled_identity(sessions, store) for store in opened_stores}) == 1
    assert all([await store.is_right() for store in opened_stores])


async def test_a_start_that_broke_off_between_database_and_store_is_finished_by_the_next(
    sessions: SessionFactory, tmp_path: Path
) -> None:
    async with transaction(sessions) as session:
        session.add(StoreIdentity(number=1, identity="store_begun", marked_at=None))
    store = opened(tmp_path / "objects", sessions)
    await store.put("a", b"x")
    assert await store.mark() == "store_begun"


async def test_a_store_without_a_mark_is_adopted_with_what_it_holds(sessions: SessionFactory, tmp_path: Path) -> None:
    before = open_object_store(ObjectStoreSettings(url=f"file://{tmp_path}/objects"))
    await before.put("a", b"x")
    store = opened(tmp_path / "objects", sessions)
    assert await store.get("a") == b"x"
    await store.put("b", b"y")
    assert [entry.key async for entry in store.entries()] in (["a", "b"], ["b", "a"])


async def test_a_renewed_identity_is_taken_up_by_processes_that_run(sessions: SessionFactory, tmp_path: Path) -> None:
    store = opened(tmp_path / "objects", sessions)
    await store.put("a", b"x")
    await stores.renew(sessions, store)
    await store.put("b", b"y")
    shutil.rmtree(tmp_path / "objects")
    await refused(store)


async def test_an_empty_database_takes_no_store_that_another_platform_has_marked(
    sessions: SessionFactory, store: ObjectStore
) -> None:
    await store.write_mark("store_of_another_platform")
    with pytest.raises(Unavailable) as refused:
        await stores.settled_identity(sessions, store)
    assert refused.value.code == "object_store_foreign"
    assert await store.mark() == "store_of_another_platform"
    assert await stores.renew(sessions, store) == "store_of_another_platform"
    assert await store.mark() == await stores.settled_identity(sessions, store) != "store_of_another_platform"
