"""A folder that is not the platform's store, such as the mount point of a disk that is away, is not an empty store."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.integration.mounts import opened
from tests.s3_servers import s3_settings
from tidemill.adapters.object_store import ObjectStore, open_object_store
from tidemill.adapters.store_mark import AWAY, FOREIGN, MARK
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.stores import StoreIdentity
from tidemill.features.stores import service as stores
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import NotFound, Unavailable
from tidemill.settings.model import ObjectStoreSettings


async def chunks() -> AsyncIterator[bytes]:
    yield b"x"


async def refused(store: ObjectStore, code: str | None = FOREIGN) -> None:
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
        assert away.value.code in ((code,) if code else AWAY)
    assert await store.is_right() == (code is None)  # what refuses us may be the right one


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


async def test_a_start_that_broke_off_takes_no_mark_from_another_platform(
    sessions: SessionFactory, store: ObjectStore
) -> None:
    async with transaction(sessions) as session:
        session.add(StoreIdentity(number=1, identity="store_begun", marked_at=None))
    await store.write_mark("store_of_another_platform")
    with pytest.raises(Unavailable):
        await stores.settled_identity(sessions, store)
    assert await store.mark() == "store_of_another_platform"


def s3_store(settings: ObjectStoreSettings, sessions: SessionFactory) -> ObjectStore:
    store = open_object_store(settings)
    stores.bind(store, sessions)
    return store


@pytest.mark.parametrize("server", ["rclone_s3", "minio_s3"])
@pytest.mark.parametrize("wrong", ["no such bucket", "another bucket", "emptied", "marked by another", "wrong key"])
async def test_a_bucket_that_is_not_the_platforms_is_neither_believed_nor_written_to(
    server: str, wrong: str, request: pytest.FixtureRequest, sessions: SessionFactory
) -> None:
    settings = s3_settings(request.getfixturevalue(server), f"identity-{os.urandom(4).hex()}")
    running = s3_store(settings, sessions)
    await running.put("a", b"x")
    plain = open_object_store(settings)
    code: str | None = FOREIGN
    match wrong:
        case "no such bucket":
            settings = settings.model_copy(update={"url": f"s3://none-{os.urandom(4).hex()}/x"})
        case "another bucket":
            settings = settings.model_copy(update={"url": f"{settings.url}-other"})
            plain = open_object_store(settings)
            await plain.put("of/somebody-else", b"x")
        case "emptied":
            await plain.delete(["a", MARK])
        case "marked by another":
            await plain.write_mark("store_of_another_platform")
        case "wrong key":
            settings, code = settings.model_copy(update={"secret_access_key": SecretStr("wrong")}), None
    before = sorted([entry.key async for entry in plain.entries()])
    store = s3_store(settings, sessions)
    await refused(store, code)
    for listing in (store.list("of/"), store.older_than("of/", utc_now())):
        with pytest.raises(Unavailable):
            await listing
    if wrong != "no such bucket":
        assert sorted([entry.key async for entry in plain.entries()]) == before
    if wrong == "emptied":
        with pytest.raises(Unavailable):  # a process that looked at the mark a moment ago
            await running.get("a")
