"""`tidemill admin backup`, `backups`, `verify`, `restore`, `restore-drill`, `check-store`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from tidemill.admin.schedule import run_schedule
from tidemill.admin.site import site
from tidemill.admin.tables import backup_row, checked_table, drill_table, made_lines, restored_lines
from tidemill.admin.work import Work, check_live_store, work_on
from tidemill.backup.sealing import new_identity
from tidemill.backup.target import LATEST
from tidemill.cli.context import Output, make_table, show, state, stderr
from tidemill.kit.errors import Conflict, NotFound
from tidemill.kit.exit_codes import FAILURE
from tidemill.kit.logging import configure_logging
from tidemill.kit.own_files import resolved, write_private
from tidemill.settings.model import Settings
from tidemill.settings.sources import load_settings

app = typer.Typer()
T = TypeVar("T")

_DATA_DIR_HELP = "Folder of a platform started by `tidemill up`, running or stopped."
_PLACE_HELP = "A folder, file:///folder or s3://bucket/prefix; by default TIDEMILL_BACKUP__URL."
DataDir = Annotated[Path | None, typer.Option("--data-dir", help=_DATA_DIR_HELP)]
Place = Annotated[str | None, typer.Option("--at", help=_PLACE_HELP)]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How results are printed.")]


def _say(text: str) -> None:
    stderr().print(f"  {text} ...", style="dim")


def _at(settings: Settings, place: str | None) -> Settings:
    """``place`` instead of the configured one."""
    if place is None:
        return settings
    url = place if "://" in place else f"file://{resolved(Path(place))}"
    return settings.model_copy(update={"backup": settings.backup.model_copy(update={"url": url})})


def _work(
    data_dir: Path | None, place: str | None, do: Callable[[Work], Awaitable[T]], *, for_restore: bool = False
) -> T:
    async def run() -> T:
        async with site(data_dir, for_restore=for_restore) as settings:
            return await do(work_on(_at(settings, place), _say))

    return asyncio.run(run())


@app.command()
def backup(
    to: Annotated[str | None, typer.Option("--to", help=_PLACE_HELP)] = None,
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a backup of both databases and every object, while everything goes on.

    Exit 1 if the store lacked objects that rows name: the backup is made, and names them.
    """
    state.output = output
    made = _work(data_dir, to, lambda work: work.back_up())
    show(made.manifest, lambda: made_lines(made))
    if made.manifest.missing_count:
        stderr().print(f"The store lacks {made.manifest.missing_count} objects that rows name.", style="bold red")
        raise typer.Exit(FAILURE)


@app.command()
def backups(at: Place = None, data_dir: DataDir = None, output: OutputOption = Output.TABLE) -> None:
    """List the backups, newest first."""
    state.output = output
    found = _work(data_dir, at, lambda work: work.backups())
    columns = ("id", "environment", "made", "tidemill", "schema", "objects", "copied", "size", "golden", "encrypted")
    show(found, lambda: make_table(None, *columns, rows=map(backup_row, found)))


@app.command()
def verify(
    backup_id: Annotated[str, typer.Argument(metavar="ID", help="Which backup.")] = LATEST,
    at: Place = None,
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Read a whole backup back and compare every hash; exit 1 naming what is missing or damaged."""
    state.output = output
    manifest, checked = _work(data_dir, at, lambda work: work.verify(backup_id))
    show({"id": manifest.id, **asdict(checked)}, lambda: checked_table(f"Backup {manifest.id}", checked))
    if not checked.ok:
        raise typer.Exit(FAILURE)


@app.command()
def restore(
    backup_id: Annotated[str, typer.Option("--from", help="Id of the backup.")] = LATEST,
    at: Place = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace/--into-empty", help="Whether a stack with content may be overwritten; its rows are lost then."
        ),
    ] = False,
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Restore a backup, with every hash verified, then migrate. Run it again if it breaks off.

    The stack must be empty (exit 3) and its processes stopped (exit 5); with --data-dir the folder may be new.
    """
    state.output = output
    _require_manifest(at, backup_id)
    restored = _work(data_dir, at, lambda work: work.restore(backup_id, replace), for_restore=True)
    show(asdict(restored), lambda: restored_lines(restored))


def _require_manifest(place: str | None, backup_id: str) -> None:
    """Before a new folder is made for what is to be restored. Raises as `Work.manifest` does."""
    asyncio.run(work_on(_at(load_settings(), place), _say).manifest(backup_id))


@app.command(name="restore-drill")
def restore_drill(
    backup_id: Annotated[str, typer.Option("--from", help="Id of the backup.")] = LATEST,
    at: Place = None,
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Restore a backup into a scratch stack and ask its golden predictions again; exit 1 unless all answers agree.

    The scratch stack has databases of its own on the same PostgreSQL server, or on that of backup.drill_database_url,
    and a folder below backup.scratch_dir with room for every object. It is removed afterwards.
    """
    state.output = output
    result = _work(data_dir, at, lambda work: work.drill(backup_id))
    show({"passed": result.passed, **asdict(result)}, lambda: drill_table(result))
    if not result.passed:
        raise typer.Exit(FAILURE)


@app.command(name="check-store")
def check_store(
    read: Annotated[bool, typer.Option("--read", help="Read every object and compare its SHA-256.")] = False,
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check that every object that a row names lies in the object store, such as after the bucket was moved."""
    state.output = output

    async def run() -> Any:
        async with site(data_dir) as settings:
            return await check_live_store(settings, read)

    checked = asyncio.run(run())
    show(asdict(checked), lambda: checked_table("Object store", checked))
    if not checked.ok:
        raise typer.Exit(FAILURE)


@app.command(name="backup-schedule")
def backup_schedule() -> None:
    """Back up and drill by the clock and stay; /metrics and health on TIDEMILL_BACKUP__PORT. Stops on SIGTERM."""
    settings = load_settings()
    configure_logging("backup", settings.environment, settings.log_level)
    raise typer.Exit(run_schedule(settings))


@app.command(name="create-backup-identity")
def create_backup_identity(
    file: Annotated[Path, typer.Argument(help="Where the identity goes; must not exist.")],
) -> None:
    """Make an age identity to encrypt backups with: the secret into FILE (mode 0600), its recipient to stdout."""
    if file.exists():
        raise Conflict("identity_exists", "There is such a file already; identities are never overwritten.")
    if not file.resolve().parent.is_dir():
        raise NotFound("folder_not_found", "The file's folder does not exist.")
    identity, recipient = new_identity()
    write_private(file, f"# recipient: {recipient}\n{identity}\n")
    typer.echo(recipient)
