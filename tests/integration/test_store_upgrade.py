"""A platform from before stores had an identity comes along with what it stored, and its release may come back."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from tests.integration.mounts import Mount, opened
from tidemill.adapters.bundles import bundle_key
from tidemill.adapters.object_store import ObjectStore, open_object_store
from tidemill.adapters.store_mark import FOREIGN, MARK
from tidemill.db.engine import conninfo, create_engine, create_session_factory
from tidemill.db.migrate import migrate, newest_revision
from tidemill.features.datasets.keys import raw_key
from tidemill.features.stores import service as stores
from tidemill.kit.errors import Unavailable
from tidemill.kit.hashing import sha256_of_bytes
from tidemill.settings.model import DatabaseSettings, ObjectStoreSettings

BEFORE = "0010"
RAW, BUNDLE = b"a,b\n1,2\n", b"a bundle"
_ROWS = """
INSERT INTO datasets (id, name, last_number) VALUES ('ds_1', 'flowers', 1);
INSERT INTO dataset_versions (id, dataset_id, dataset_name, state, fingerprint, sha256, size_bytes, filename, options,
    new_contract, parts, warnings, created_by, number)
VALUES ('dsv_1', 'ds_1', 'flowers', 'ready', 'x', '{raw}', 8, 'f.csv', '{{}}', false, '[]', '[]', 'key_1', 1);
INSERT INTO jobs (id, kind, queue, status, timeout_seconds, payload, principal)
VALUES ('job_1', 'datasets.ingest', 'data', 'queued', 60, '{{"version_id": "dsv_1"}}', 'key_1');
"""


@pytest.fixture
def before(postgres_url: str) -> Iterator[DatabaseSettings]:
    """A database as the release before left it, with a dataset and a job that waits."""
    name = f"upgraded_{os.getpid()}_{os.urandom(4).hex()}"
    server = postgres_url.replace("postgresql+psycopg://", "postgresql://", 1)
    settings = DatabaseSettings(url=SecretStr(postgres_url.replace("/postgres?", f"/{name}?")))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        migrate(settings, BEFORE)
        with psycopg.connect(conninfo(settings)) as own:
            own.execute(_ROWS.format(raw=sha256_of_bytes(RAW)).encode())
        yield settings
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def old_store(tmp_path: Path) -> ObjectStore:
    """The store as the release before uses it: it knows of no mark."""
    store = open_object_store(ObjectStoreSettings(url=f"file://{tmp_path}/objects"))
    await store.put(raw_key(sha256_of_bytes(RAW)), RAW)
    return store


async def test_a_store_without_a_mark_is_adopted_at_the_upgrade_unless_its_disk_is_away(
    before: DatabaseSettings, old_store: ObjectStore, tmp_path: Path
) -> None:
    migrate(before)
    mount = Mount(tmp_path / "objects")
    mount.unmount()
    engine = create_engine(before, "tests")
    sessions = create_session_factory(engine)
    with pytest.raises(Unavailable) as away:
        await opened(mount.path, sessions).put("a", b"x")
    assert (away.value.code, await stores.known_identity(sessions)) == (FOREIGN, None)
    mount.mount()
    store = opened(mount.path, sessions)
    await store.put("a", b"x")
    assert await store.get(raw_key(sha256_of_bytes(RAW))) == RAW
    assert await old_store.mark() == await stores.known_identity(sessions)
    with psycopg.connect(conninfo(before)) as connection:
        counted = "SELECT (SELECT count(*) FROM dataset_versions), (SELECT count(*) FROM jobs WHERE status = 'queued')"
        assert connection.execute(counted).fetchone() == (1, 1)
    await engine.dispose()


async def test_both_releases_use_the_store_while_one_follows_the_other_and_the_older_may_return(
    before: DatabaseSettings, old_store: ObjectStore, tmp_path: Path
) -> None:
    migrate(before)
    engine = create_engine(before, "tests")
    store = opened(tmp_path / "objects", create_session_factory(engine))
    await store.put("of/the-new", b"1")
    await old_store.put("of/the-old", b"2")
    assert (await store.get("of/the-old"), await old_store.get("of/the-new")) == (b"2", b"1")
    await old_store.move("of/the-new", "of/moved")
    await engine.dispose()
    # The release before runs again, on the newer schema, and stores what this one does not know; then this one returns.
    migrate(before, BEFORE)
    bundle = bundle_key(sha256_of_bytes(BUNDLE))
    await old_store.put(bundle, BUNDLE)
    migrate(before)
    engine = create_engine(before, "tests")
    again = opened(tmp_path / "objects", create_session_factory(engine))
    assert (await again.get(bundle), await again.is_right()) == (BUNDLE, True)
    assert (tmp_path / "objects" / MARK).is_file()
    with psycopg.connect(conninfo(before)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (newest_revision(),)
    await engine.dispose()
