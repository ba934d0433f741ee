"""`tidemill admin ledger`: what a model server set aside, on the machine (or in the container) that holds its disk."""

from pathlib import Path
from typing import Annotated

import typer

from tidemill.admin.set_aside import Found, found_in, state_folders
from tidemill.cli.context import Output, make_table, show, state
from tidemill.cli.terminal import visible
from tidemill.kit.errors import Invalid, NotFound
from tidemill.kit.sizes import format_size
from tidemill.model_server.ledger.set_aside import Kind
from tidemill.settings.sources import load_settings

app = typer.Typer(name="ledger", no_args_is_help=True)

_MOST_REPAIRED_BYTES = 512 * 2**20
_MOST_LISTED = 1000
StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", help="Folder of a model server; by default that of --data-dir or the settings."),
]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder of a platform started by `tidemill up`.")]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How results are printed.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `list` shows it; its first characters are enough.")]
EveryOption = Annotated[bool, typer.Option("--all", help="Everything that is set aside.")]
_MaybeName = Annotated[str | None, typer.Argument(metavar="[NAME]", help="As `list` shows it, or its beginning.")]


@app.callback()
def ledger() -> None:
    """Rows that a model server could not ship, answered rows that damage took, and damaged files of its disk.

    Their kinds are `rows`; `retry`, rows that wait to be shipped again; `lost`, a number alone; and `file`.
    They count towards the ledger's limit. The server may run meanwhile.
    """


@app.command(name="list")
def list_command(state_dir: StateDir = None, data_dir: DataDir = None, output: OutputOption = Output.TABLE) -> None:
    """List what is set aside, oldest first, at most 1000."""
    state.output = output
    found = _found(state_dir, data_dir)[:_MOST_LISTED]
    columns = ("name", "kind", "rows", "size", "since", "why")
    rows = [(each.name, each.kind, each.rows, format_size(each.size_bytes), each.since, _why(each)) for each in found]
    show([each.plain() for each in found], lambda: make_table(None, *columns, rows=rows))


@app.command(name="show")
def show_command(
    name: Name,
    state_dir: StateDir = None,
    data_dir: DataDir = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Lines at most.")] = 100,
) -> None:
    """Print the lines that are kept under a name, as they are; bytes that are no text as escapes.

    To repair them: write them to a file, edit it, and give it to `retry --repaired`.
    """
    for line in _named(_found(state_dir, data_dir), name).lines(limit):
        typer.echo(visible(line.decode(errors="backslashreplace")))


@app.command()
def retry(
    name: _MaybeName = None,
    every: EveryOption = False,
    repaired: Annotated[Path | None, typer.Option("--repaired", help="File with the lines to ship instead.")] = None,
    state_dir: StateDir = None,
    data_dir: DataDir = None,
) -> None:
    """Have rows shipped again: by the server that runs, or by the next that starts. Those refused again come back."""
    chosen = _chosen(_found(state_dir, data_dir), name, every)
    content = None
    if repaired is not None:
        if every:
            raise Invalid("name_missing", "Repaired lines take the place of one name.")
        content = _read_repaired(repaired)
    rows = sum(each.retry(content) for each in chosen if each.kind == Kind.ROWS or not every)
    typer.echo(f"{rows} rows will be shipped again.")


@app.command()
def discard(
    name: _MaybeName = None,
    every: EveryOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    state_dir: StateDir = None,
    data_dir: DataDir = None,
) -> None:
    """Delete for good what is set aside under a name, or everything."""
    chosen = _chosen(_found(state_dir, data_dir), name, every)
    if not yes:
        typer.confirm(f"Delete {len(chosen)} entries for good?", abort=True)
    for each in chosen:
        each.discard()
    typer.echo(f"{len(chosen)} entries were deleted.")


def _found(state_dir: Path | None, data_dir: Path | None) -> list[Found]:
    settings = load_settings()
    given = state_dir or (data_dir / "model-server" if data_dir else settings.model_server.state_dir)
    return [found for folder in state_folders(given) for found in found_in(folder)]


def _chosen(found: list[Found], name: str | None, every: bool) -> list[Found]:
    if every == (name is not None):
        raise Invalid("name_missing", "Give a name that `tidemill admin ledger list` shows, or --all.")
    return found if name is None else [_named(found, name)]


def _named(found: list[Found], name: str) -> Found:
    exact = [each for each in found if each.name == name] or [each for each in found if each.name.startswith(name)]
    if not exact or not name:
        raise NotFound("set_aside_not_found", "Nothing is set aside under this name.")
    if len(exact) > 1:
        raise Invalid("name_ambiguous", f"{len(exact)} names begin so; give more of it.")
    return exact[0]


def _read_repaired(file: Path) -> bytes:
    try:
        if file.stat().st_size > _MOST_REPAIRED_BYTES:
            raise Invalid("file_too_large", f"A file of repaired lines holds at most {_MOST_REPAIRED_BYTES} bytes.")
        return file.read_bytes()
    except OSError as error:
        raise NotFound("file_unreadable", f"The file cannot be read ({type(error).__name__}).") from None


def _why(found: Found) -> str:
    return ", ".join(f"{code} ({count})" for code, count in sorted(found.reasons.items()))
