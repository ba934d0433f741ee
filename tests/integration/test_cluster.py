"""The embedded PostgreSQL's folder, with a real one: what is damaged ends a start at once, in one sentence."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tidemill.adapters.postgres_programs import embedded_programs
from tidemill.kit.errors import Conflict, TidemillError, Unavailable
from tidemill.platform import cluster, postgres
from tidemill.platform.children import Child
from tidemill.platform.layout import Layout

_START_SECONDS = 180


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A folder with a new cluster, made as a first start makes it; not below pytest's, which is closed to others."""
    root = Path(tempfile.mkdtemp(prefix="tidemill-cluster-"))
    layout = Layout(root / "made")
    layout.create()
    postgres.prepare(layout, postgres.system_user())
    assert not layout.postgres_new.exists()
    yield layout.root
    shutil.rmtree(root)


@pytest.fixture
def layout(made: Path) -> Iterator[Layout]:
    """A copy of it."""
    copy = made.with_name("copy")
    subprocess.run(["cp", "-a", str(made), str(copy)], check=True, timeout=60)
    yield Layout(copy)
    shutil.rmtree(copy)


async def _start(layout: Layout) -> list[int]:
    """Start PostgreSQL as `tidemill up` does, make its databases, and stop it; the exit codes it was restarted after.

    What is raised carries them as a note.
    """
    restarted: list[int] = []
    user = postgres.system_user()
    postgres.prepare(layout, user)
    child = Child(
        postgres.spec(layout, user, os.environ), layout.logs / "postgres.log", lambda _, code: restarted.append(code)
    )
    await child.start()
    try:
        await child.until_ready(_START_SECONDS)
        postgres.ensure_databases(layout, ("tidemill", "mlflow"))
    except TidemillError as error:
        error.add_note(f"restarted: {restarted}")
        raise
    finally:
        await child.stop()
    return restarted


def _bytes_changed(folder: Path) -> None:
    with (folder / "global" / "pg_control").open("r+b") as file:
        file.seek(50)
        file.write(b"damaged")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_bytes_changed, "pg_control is damaged"),
        (lambda folder: (folder / "postgresql.conf").write_text("what is this"), "contains errors"),
        (lambda folder: shutil.rmtree(folder / "base"), "base/5"),
    ],
    ids=["pg_control", "postgresql.conf", "no base"],
)
async def test_a_damaged_database_ends_a_start_at_once_with_its_folder_and_what_to_do(
    layout: Layout, damage: Callable[[Path], object], said: str
) -> None:
    damage(layout.postgres)
    with pytest.raises(TidemillError, match=str(layout.postgres)) as refused:
        await _start(layout)
    assert said in refused.value.detail
    assert "restore a backup" in refused.value.detail
    assert getattr(refused.value, "__notes__", ["restarted: []"]) == ["restarted: []"]


async def test_a_database_whose_files_are_gone_is_told_when_the_platform_starts(layout: Layout) -> None:
    await _start(layout)
    newest = max((folder for folder in (layout.postgres / "base").iterdir()), key=lambda folder: int(folder.name))
    shutil.rmtree(newest)
    with pytest.raises(Unavailable, match=f"{layout.postgres}.*mlflow.*base/{newest.name}"):
        await _start(layout)


async def test_locks_with_ids_of_other_programs_do_not_hold_up_a_start(layout: Layout) -> None:
    (layout.postgres / "postmaster.pid").write_text(f"{os.getpid()}\n{layout.postgres}\n")
    (layout.sockets / ".s.PGSQL.5432.lock").write_text(f"{os.getpid()}\n")
    (layout.sockets / ".s.PGSQL.5432").write_text("no socket")
    assert await _start(layout) == []


def test_a_postgresql_that_somebody_else_started_on_the_folder_is_left_alone(layout: Layout) -> None:
    user = postgres.system_user()
    command = [str(embedded_programs() / "postgres"), "-D", str(layout.postgres), "-k", str(layout.sockets)]
    identity = {"user": user, "group": user, "extra_groups": []} if user else {}
    with subprocess.Popen([*command, "-c", "listen_addresses="], cwd="/", stderr=subprocess.PIPE, **identity) as other:  # type: ignore[call-overload]
        assert other.stderr is not None
        while b"ready to accept connections" not in other.stderr.readline():
            assert other.poll() is None
        with pytest.raises(Conflict, match=str(other.pid)) as refused:
            cluster.remove_stale_locks(layout)
        assert refused.value.code == "postgres_in_use"
        assert psutil.pid_exists(other.pid)
        other.terminate()
