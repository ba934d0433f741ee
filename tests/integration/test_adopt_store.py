"""`tidemill admin adopt-store`: a store and a database that do not know each other are brought together by hand."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.mounts import opened
from tests.integration.registry.models import register
from tests.s3_servers import s3_settings
from tidemill.adapters.bundles import bundle_key
from tidemill.adapters.object_store import ObjectStore, open_object_store
from tidemill.adapters.store_mark import MARK
from tidemill.admin.main import main
from tidemill.db.engine import SessionFactory, create_session_factory, transaction
from tidemill.db.tables.stores import StoreIdentity
from tidemill.features.stores import service as stores
from tidemill.kit.errors import Unavailable
from tidemill.kit.hashing import sha256_of_bytes
from tidemill.settings.model import DatabaseSettings, ObjectStoreSettings

AdoptStore = Callable[..., Awaitable[tuple[int, str]]]
BUNDLE = b"bundle of a model"
NAMED = bundle_key(sha256_of_bytes(BUNDLE))
_REFUSED = 1
"""Exit code: something is unavailable."""


@pytest.fixture
async def adopt_store(
    database: DatabaseSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> AdoptStore:
    """``await adopt_store(store)`` runs the command on the folder or bucket: (exit code, what it said)."""

    async def run(store: ObjectStoreSettings | None = None) -> tuple[int, str]:
        settings = store or ObjectStoreSettings(url=f"file://{tmp_path}/objects")
        monkeypatch.setenv("TIDEMILL_DATABASE__URL", database.url.get_secret_value())
        monkeypatch.setenv("TIDEMILL_OBJECT_STORE__URL", settings.url)
        if settings.endpoint is not None:
            assert settings.access_key_id is not None
            assert settings.secret_access_key is not None
            monkeypatch.setenv("TIDEMILL_OBJECT_STORE__ENDPOINT", settings.endpoint)
            monkeypatch.setenv("TIDEMILL_OBJECT_STORE__ACCESS_KEY_ID", settings.access_key_id.get_secret_value())
            monkeypatch.setenv(
                "TIDEMILL_OBJECT_STORE__SECRET_ACCESS_KEY", settings.secret_access_key.get_secret_value()
            )
        monkeypatch.setattr(sys, "argv", ["tidemill admin", "adopt-store"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            await asyncio.to_thread(main)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return run


async def name_a_model(sessions: SessionFactory) -> None:
    await register(sessions, "loans", bundle_sha256=sha256_of_bytes(BUNDLE), bundle_size_bytes=len(BUNDLE))


async def test_a_store_that_was_moved_without_its_mark_is_adopted_and_used_again(
    sessions: SessionFactory, tmp_path: Path, adopt_store: AdoptStore
) -> None:
    store = opened(tmp_path / "objects", sessions)
    await store.put(NAMED, BUNDLE)
    await name_a_model(sessions)
    (tmp_path / "objects" / MARK).unlink()
    assert not await store.is_right()
    code, said = await adopt_store()
    assert (code, "know each other" in said, "another mark" in said) == (0, True, False)
    assert await store.is_right()  # in a process that runs, too
    assert await store.get(NAMED) == BUNDLE


async def test_adopting_twice_is_no_error_and_leaves_what_is_stored(
    sessions: SessionFactory, tmp_path: Path, adopt_store: AdoptStore
) -> None:
    store = opened(tmp_path / "objects", sessions)
    await store.put("a", b"x")
    for _ in range(2):
        code, said = await adopt_store()
        assert (code, "another mark" in said) == (0, False)
        assert await store.get("a") == b"x"


@pytest.mark.parametrize("mark", [None, "store_of_another_platform"])
async def test_a_store_without_anything_that_rows_name_is_refused_and_left_alone(
    sessions: SessionFactory, tmp_path: Path, adopt_store: AdoptStore, mark: str | None
) -> None:
    await name_a_model(sessions)
    other = open_object_store(ObjectStoreSettings(url=f"file://{tmp_path}/objects"))
    await other.put("bundles/of-somebody-else.tar", b"x")
    if mark is not None:
        await other.write_mark(mark)
    code, said = await adopt_store()
    assert (code, "is its disk mounted" in said) == (_REFUSED, True)
    assert (await other.mark(), await stores.known_identity(sessions)) == (mark, None)


async def test_an_object_in_common_with_another_platform_does_not_make_its_store_ours(
    sessions: SessionFactory, store: ObjectStore
) -> None:
    bundles = [f"bundle {number}".encode() for number in range(3)]
    for number, content in enumerate(bundles):
        await register(sessions, f"m{number}", bundle_sha256=sha256_of_bytes(content), bundle_size_bytes=len(content))
    await store.put(bundle_key(sha256_of_bytes(bundles[0])), bundles[0])
    await store.write_mark("store_of_another_platform")
    for ask in (stores.settled_identity, stores.renew):
        with pytest.raises(Unavailable):
            await ask(sessions, store)
    assert await store.mark() == "store_of_another_platform"
    await store.put(bundle_key(sha256_of_bytes(bundles[1])), bundles[1])
    await stores.renew(sessions, store)  # what is lost since does not lock anybody out
    assert await store.mark() == await stores.settled_identity(sessions, store)


async def test_a_store_of_another_platform_is_taken_from_it_and_that_is_said(
    engine: AsyncEngine, tmp_path: Path, adopt_store: AdoptStore
) -> None:
    other = open_object_store(ObjectStoreSettings(url=f"file://{tmp_path}/objects"))
    await other.put("kept", b"x")
    await other.write_mark("store_of_another_platform")
    code, said = await adopt_store()
    assert (code, "another mark" in said) == (0, True)
    assert await other.mark() == await stores.known_identity(create_session_factory(engine))
    assert await other.get("kept") == b"x"


async def test_an_empty_store_is_adopted_by_a_database_that_names_nothing(
    sessions: SessionFactory, tmp_path: Path, adopt_store: AdoptStore
) -> None:
    assert (await adopt_store())[0] == 0
    await opened(tmp_path / "objects", sessions).put("a", b"x")


async def test_a_store_that_refuses_the_keys_changes_nothing(
    sessions: SessionFactory, rclone_s3: str, adopt_store: AdoptStore
) -> None:
    settings = s3_settings(rclone_s3, "adopted")
    store = open_object_store(settings)
    stores.bind(store, sessions)
    await store.put("a", b"x")
    before = await stores.known_identity(sessions)
    code, said = await adopt_store(settings.model_copy(update={"secret_access_key": SecretStr("wrong")}))
    assert (code, "refuses the platform's keys" in said) == (_REFUSED, True)
    assert await store.mark() == before == await stores.known_identity(sessions)
    assert (await adopt_store(settings))[0] == 0
    assert await store.is_right()


@pytest.mark.parametrize("known", [True, False])
async def test_a_mark_that_cannot_be_written_leaves_the_identity_as_it_was(
    sessions: SessionFactory, tmp_path: Path, known: bool
) -> None:
    folder = tmp_path / "objects"
    store = opened(folder, sessions)
    if known:
        await store.put("a", b"x")
    before = await stores.known_identity(sessions)
    (folder / MARK).unlink(missing_ok=True)
    (folder / MARK).mkdir()
    (folder / MARK / "in the way").touch()
    with pytest.raises(Unavailable):
        await stores.renew(sessions, store)
    assert await stores.known_identity(sessions) == before
    async with transaction(sessions) as session:
        assert (await session.get(StoreIdentity, 1) is not None) == known
