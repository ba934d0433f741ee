"""`tidemill dataset ...`"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from tidemill.cli.context import client, make_table, show, stderr, validated
from tidemill.cli.dataset_tables import dependents, diff_tables, headline, reading, schema_tables, versions_table
from tidemill.cli.progress import follow_to_result
from tidemill.client import Tidemill
from tidemill.kit.durations import parse_duration_seconds
from tidemill.kit.errors import Invalid
from tidemill.kit.sizes import format_size
from tidemill.schemas.datasets import (
    FileFormat,
    IngestOptions,
    Quote,
    Version,
    VersionAccepted,
)

app = typer.Typer(no_args_is_help=True, help="Datasets and their versions.")
Name = Annotated[str, typer.Argument(help="Name of the dataset.")]
_MOST_LISTED = 1000
_SHOWN_COLUMNS = 60
_PUSHED_COLUMNS = 30


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of bytes on stderr, if that is a terminal."""
    console = stderr()
    title_column = TextColumn("{task.description}", style="bold", markup=False)
    columns = (title_column, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@app.command()
def push(
    file: Annotated[Path, typer.Argument(help="CSV, TSV, JSON, NDJSON, Parquet, Arrow or Excel; gzip and zstd too.")],
    *,
    name: Annotated[str, typer.Option("--name", help="Name of the dataset.")],
    new_contract: Annotated[
        bool, typer.Option("--new-contract", help="Accept other columns and types than the versions before.")
    ] = False,
    type: Annotated[
        list[str] | None, typer.Option("--type", help="COLUMN=TYPE, such as zip=string or day=date:%d.%m.%Y.")
    ] = None,
    missing: Annotated[list[str] | None, typer.Option(help="A text that means a missing value.")] = None,
    default_missing: Annotated[bool, typer.Option(help="Whether NA, NaN, null and so on mean missing.")] = True,
    header: Annotated[
        bool | None, typer.Option("--header/--no-header", help="Whether the first row has names.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help=r"One character; \t for a tab.")] = None,
    quote: Annotated[Quote | None, typer.Option(help="What surrounds fields; none if quotes are plain text.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Such as utf-8, utf-16 or cp1252.")] = None,
    decimal: Annotated[str, typer.Option(help="Decimal mark: point or comma.")] = ".",
    sheet: Annotated[str | None, typer.Option(help="Excel: name of the sheet.")] = None,
    format: Annotated[FileFormat | None, typer.Option(help="What the file is, where that is not found out.")] = None,
    wait: Annotated[bool, typer.Option(help="Stay until the version is ready.")] = True,
    timeout: Annotated[str | None, typer.Option(help="Longest wait, such as 10m.")] = None,
) -> None:
    """Push a file as a new version; the same bytes again give the same version."""
    options = validated(
        IngestOptions,
        {
            "format": format,
            "delimiter": "\t" if delimiter == r"\t" else delimiter,
            "quote": quote,
            "encoding": encoding,
            "has_header": header,
            "decimal": decimal,
            "sheet": sheet,
            "types": _types(type or []),
            "missing": missing or [],
            "default_missing": default_missing,
        },
    )
    seconds = parse_duration_seconds(timeout) if timeout else None
    with client() as tidemill:
        accepted = _upload(tidemill, file, name, options, new_contract)
        if accepted.job_id is not None and not wait:
            show(accepted, lambda: [f"Job {accepted.job_id} reads the file."])
            return
        version = _version_of(tidemill, name, accepted, seconds)
    show(version, lambda: [headline(version), reading(version), *schema_tables(version, _PUSHED_COLUMNS)])


def _upload(tidemill: Tidemill, file: Path, name: str, options: IngestOptions, new_contract: bool) -> VersionAccepted:
    with _bar(f"uploading {file.name}") as on_bytes:
        return tidemill.datasets.upload(file, name, options=options, new_contract=new_contract, on_bytes=on_bytes)


def _version_of(tidemill: Tidemill, name: str, accepted: VersionAccepted, timeout_seconds: float | None) -> Version:
    if accepted.job_id is None:
        stderr().print(f"The same bytes are version {accepted.number} already.")
        version = tidemill.datasets.version(name, accepted.number)
        for warning in version.warnings:  # else the job has told them
            stderr().print(f"warning: {warning}", markup=False, soft_wrap=True)
        return version
    job = follow_to_result(tidemill, accepted.job_id, f"dataset {name}", timeout_seconds)
    return tidemill.datasets.version(name, int((job.result or {})["number"]))


def _types(declared: list[str]) -> dict[str, str]:
    types = {}
    for text in declared:
        column, separator, kind = text.rpartition("=")
        if not separator or not column:
            raise Invalid("type_malformed", "A declared type is written as COLUMN=TYPE.")
        types[column] = kind
    return types


@app.command(name="list")
def list_datasets() -> None:
    """List datasets by name."""
    with client() as tidemill:
        datasets = list(islice(tidemill.datasets.list(), _MOST_LISTED))
    columns = ("name", "versions", "latest", "rows", "columns", "size", "updated")
    rows = [
        (
            item.name,
            item.version_count,
            item.latest_version,
            item.row_count,
            len(item.contract.columns),
            format_size(item.size_bytes),
            f"{item.updated_at:%Y-%m-%d %H:%M}",
        )
        for item in datasets
    ]
    show(datasets, lambda: make_table(None, *columns, rows=rows))


@app.command(name="show")
def show_dataset(
    name: Name,
    number: Annotated[int | None, typer.Argument(min=1, help="Version; the newest when absent.")] = None,
    all: Annotated[bool, typer.Option("--all", help="Every column, however many there are.")] = False,
) -> None:
    """Show versions, and schema and profile of one of them."""
    with client() as tidemill:
        version = tidemill.datasets.version(name, number)
        versions = list(islice(tidemill.datasets.versions(name), 20))
    most = version.column_count if all else _SHOWN_COLUMNS
    parts = [headline(version), reading(version)]
    show(version, lambda: [*parts, *schema_tables(version, most), *dependents(version), versions_table(versions)])


@app.command()
def diff(
    name: Name,
    before: Annotated[int, typer.Argument(min=1, help="The one version.")],
    after: Annotated[int, typer.Argument(min=1, help="The other version.")],
) -> None:
    """Show what differs between two versions."""
    with client() as tidemill:
        found = tidemill.datasets.diff(name, before, after)
    show(found, lambda: diff_tables(found))


@app.command()
def download(
    name: Name,
    number: Annotated[int | None, typer.Argument(min=1, help="Version; the newest when absent.")] = None,
    to: Annotated[Path | None, typer.Option("--to", help="File to write; in this folder by default.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="The file as it was pushed instead of Parquet.")] = False,
) -> None:
    """Write a version to a file and print its path."""
    with client() as tidemill:
        version = tidemill.datasets.version(name, number)
        # A name from the server is a name, never a path.
        default = Path(Path(version.filename).name if raw else f"{name}-{version.number}.parquet")
        with _bar(f"downloading {name}") as on_bytes:
            paths = tidemill.datasets.download(name, to or default, version.number, raw=raw, on_bytes=on_bytes)
    show([str(path) for path in paths], lambda: [str(path) for path in paths])


@app.command()
def delete(
    name: Name,
    number: Annotated[int | None, typer.Argument(min=1, help="Version; all of them when absent.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a version, or the whole dataset. Refused while a model depends on it."""
    subject = f"version {number} of {name}" if number else f"{name} with all of its versions"
    if not yes:
        typer.confirm(f"Delete {subject}?", abort=True, err=True)
    with client() as tidemill:
        tidemill.datasets.delete(name, number)
    show({"deleted": name, "version": number}, lambda: [f"Deleted {subject}."])
