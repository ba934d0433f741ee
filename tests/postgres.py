"""A real PostgreSQL server of the tests: the programs that `tidemill up` embeds, started as it starts them."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tidemill.platform import postgres
from tidemill.platform.layout import Layout

_START_SECONDS = 180
_STOP_SECONDS = 120


class Postgres:
    """One server, which a test may stop and start again."""

    def __init__(self, folder: Path) -> None:
        self._layout = Layout(folder)
        self._log = folder / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        user = postgres.system_user()
        postgres.prepare(self._layout, user)
        spec = postgres.spec(self._layout, user, os.environ)
        # A test's data need not survive the machine.
        command = [*spec.command, "-c", "fsync=off", "-c", "full_page_writes=off"]
        # In a session of its own: PostgreSQL takes a signal to the tests' group for its own.
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=spec.environment, user=user, group=user, extra_groups=[] if user else None,
                cwd="/", stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._until_answering(self._process)

    def stop(self) -> None:
        """As `pg_ctl stop -m fast`: clients are disconnected, nothing is lost."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_STOP_SECONDS)
            self._process = None

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy's address of a database."""
        return postgres.url(self._layout, database)

    def conninfo(self, database: str = "postgres") -> str:
        """The same for psycopg."""
        return self.url(database).replace("postgresql+psycopg://", "postgresql://", 1)

    def _until_answering(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                psycopg.connect(self.conninfo(), connect_timeout=10).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"PostgreSQL did not start: {self._log.read_text()[-2000:]}")


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A server that runs, in a folder of its own.

    Not below pytest's temporary folder, which pytest closes to PostgreSQL's own user at every start.
    """
    folder = Path(tempfile.mkdtemp(prefix="tidemill-postgres-"))
    server = Postgres(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
