"""Fixtures shared by all tests: real PostgreSQL with the real migrations, real object stores."""

import itertools
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.ext.asyncio import AsyncEngine

from tests import programs
from tests.postgres import postgres_server
from tests.s3_servers import find_minio, minio_server, rclone_server
from tidemill.adapters.object_store import ObjectStore, open_object_store
from tidemill.db.engine import SessionFactory, create_engine, create_session_factory
from tidemill.db.migrate import migrate
from tidemill.settings.model import DatabaseSettings, ObjectStoreSettings

# Read when LightGBM and scikit-learn load OpenMP: threads that spin while they wait starve tests that run beside.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_numbers = itertools.count()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line: how many tests were left out, for want of what."""
    reports = terminalreporter.stats.get("skipped", [])
    # (file, line, "Skipped: reason"), or text where the whole module was.
    said = [report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr) for report in reports]
    reasons = Counter(re.sub(r"^Skipped: ", "", reason) for reason in said)
    if reasons:
        listed = "; ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"{reasons.total()} tests left out: {listed}")


@pytest.fixture(autouse=True)
def _umask_of_the_suite() -> Iterator[None]:
    """A command whose main runs within a test closes the files of its process to others: of that test alone."""
    umask = os.umask(0o022)
    yield
    os.umask(umask)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """SQLAlchemy address of a real PostgreSQL server of this test process; its database ``postgres``."""
    with postgres_server() as server:
        yield server.url()


def libpq(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def with_database(url: str, name: str) -> str:
    before, _, after = url.partition("/postgres?")
    return f"{before}/{name}?{after}"


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> str:
    """Name of a database with all migrations, copied for each test."""
    with psycopg.connect(libpq(postgres_url), autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_migrated")
    migrate(DatabaseSettings(url=with_database(postgres_url, "template_migrated")))
    return "template_migrated"


@pytest.fixture
def database(postgres_url: str, migrated_template: str) -> Iterator[DatabaseSettings]:
    """A fresh migrated database of this test alone."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(libpq(postgres_url), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(migrated_template))
        )
        yield DatabaseSettings(url=with_database(postgres_url, name))
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
async def engine(database: DatabaseSettings) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database, "tests")
    yield engine
    await engine.dispose()


@pytest.fixture
def sessions(engine: AsyncEngine) -> SessionFactory:
    return create_session_factory(engine)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """A directory as object store."""
    return open_object_store(ObjectStoreSettings(url=f"file://{tmp_path}/objects"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("TESTS_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        programs.left_out("no folder of real data sets", "TESTS_DATA names it")
    return folder


@pytest.fixture(scope="session")
def rclone_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of `rclone serve s3` with the bucket ``tidemill``."""
    with rclone_server(tmp_path_factory.mktemp("rclone")) as address:
        yield address


@pytest.fixture(scope="session")
def minio_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a MinIO server with the bucket ``tidemill``, where its program is (``make minio``)."""
    program = find_minio()
    if program is None:
        programs.left_out("no minio", "make minio, which needs Go")
    with minio_server(program, tmp_path_factory.mktemp("minio")) as address:
        yield address
