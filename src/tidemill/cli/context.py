"""What every command shares: the client it talks through, and how it shows results."""

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tidemill.cli.terminal import SafeConsole, visible
from tidemill.client import Tidemill
from tidemill.kit.errors import Forbidden, Invalid, NotFound, Problem, TidemillError
from tidemill.kit.own_files import checked_folder, read_own

M = TypeVar("M", bound=BaseModel)

KEY_FILE = "admin.key"
ADDRESSES_FILE = "addresses.json"
_MAX_PROBLEMS_SHOWN = 100
_KEY = re.compile(r"tm_[0-9A-Za-z_]{1,128}")
"""What every API key looks like; whether it is one, the api knows."""
_WITHOUT_FILES = "ask for a key of your own and set TIDEMILL_API_KEY and TIDEMILL_URL"


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


class _State:
    """Options given before the command's name."""

    output = Output.TABLE
    data_dir = Path("tidemill-data")


state = _State()


def stdout() -> Console:
    """For data, which is printed as it is: square brackets in it are no markup. Wide when it is not a terminal."""
    return SafeConsole(width=None if os.isatty(1) else 200, soft_wrap=False, highlight=False, markup=False)


def stderr() -> Console:
    """For talk and progress; what is said may hold names with square brackets, which are no markup."""
    return SafeConsole(stderr=True, highlight=False, markup=False)


def report(error: TidemillError) -> None:
    """Say on stderr what went wrong and where."""
    console = stderr()
    said = Text.assemble((f"{error.title}:", "bold red"), f" {error.detail} ", (f"({error.code})", "dim"))
    console.print(said, soft_wrap=True)
    shown = list(dict.fromkeys(_place_text(problem, error) for problem in error.problems[:_MAX_PROBLEMS_SHOWN]))
    for line in shown:
        console.print(f"  {line}", soft_wrap=True)
    if len(error.problems) > _MAX_PROBLEMS_SHOWN:
        console.print(f"  and {len(error.problems) - _MAX_PROBLEMS_SHOWN} more")
    for note in getattr(error, "__notes__", []):
        console.print(f"  {note}", style="dim", soft_wrap=True)


def _place_text(problem: Problem, error: TidemillError) -> str:
    """What was said already is not said again of its place."""
    return problem.pointer if problem.detail == error.detail else f"{problem.pointer}: {problem.detail}"


def client(timeout_seconds: float = 60) -> Tidemill:
    """A client from ``TIDEMILL_URL`` and ``TIDEMILL_API_KEY``, else from the platform in ``--data-dir``."""
    addresses = _addresses()
    key = os.environ.get("TIDEMILL_API_KEY") or _key_of_data_dir()
    if key is None:
        raise Invalid(
            "key_missing",
            f"No API key: set TIDEMILL_API_KEY, or name the platform's folder with --data-dir; tried {state.data_dir}.",
        )
    return Tidemill(
        url=os.environ.get("TIDEMILL_URL") or addresses.get("api"),
        key=key,
        model_server_url=os.environ.get("TIDEMILL_MODEL_SERVER_URL") or addresses.get("model_server"),
        timeout_seconds=timeout_seconds,
    )


def validated(kind: type[M], content: dict[str, Any]) -> M:
    """What options amount to. Ends the command as a usage error that names the options, never their values."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        places = ", ".join("--" + ".".join(map(str, item["loc"])).replace("_", "-") for item in error.errors())
        raise typer.BadParameter(f"not usable: {places}") from None


def show(data: BaseModel | Sequence[BaseModel] | Any, table: Callable[[], Table | Iterable[Any]] | None = None) -> None:
    """Print ``data`` as JSON with ``--output json``, else what ``table`` makes of it."""
    if state.output is Output.JSON or table is None:
        typer.echo(visible(json.dumps(_plain(data), ensure_ascii=False, indent=2)))
        return
    made = table()
    console = stdout()
    for part in [made] if isinstance(made, (Table, str)) else made:
        console.print(part, soft_wrap=isinstance(part, str))


def make_table(title: str | None, *columns: str, rows: Iterable[Sequence[Any]]) -> Table:
    """A table of text as it is; None is a dash, numbers have up to four decimals, moments are UTC to the second."""
    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else cell_text(cell) for cell in row))
    return table


def cell_text(cell: Any) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, datetime):
        return moment_text(cell)
    return f"{cell:.4f}".rstrip("0").rstrip(".") if isinstance(cell, float) else str(cell)


def moment_text(moment: datetime) -> str:
    """In UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def interval_text(value: float | None, low: float | None, high: float | None) -> str | None:
    """A metric with its interval; None where there is no value."""
    if value is None:
        return None
    return f"{value:.4f}" if low is None or high is None else f"{value:.4f} ({low:.4f} to {high:.4f})"


def _plain(data: Any) -> Any:
    if isinstance(data, BaseModel):
        return data.model_dump(mode="json")
    if isinstance(data, (list, tuple)):
        return [_plain(item) for item in data]
    return data


def _addresses() -> dict[str, str]:
    text = _read(state.data_dir / ADDRESSES_FILE)
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise Invalid("addresses_damaged", f"{state.data_dir / ADDRESSES_FILE} is damaged; set TIDEMILL_URL.")
    return found


def _key_of_data_dir() -> str | None:
    text = _read(state.data_dir / KEY_FILE)
    if text is None:
        return None
    if not _KEY.fullmatch(text.strip()):
        raise Invalid(
            "key_file_damaged",
            f"{state.data_dir / KEY_FILE} holds no API key: set TIDEMILL_API_KEY; the next `tidemill up` keeps that "
            "file aside and makes a new key.",
        )
    return text.strip()


def _read(file: Path) -> str | None:
    """A file of the platform's folder, None if there is none. Raises Forbidden if it is somebody else's.

    Anybody may have put the folder into the current directory, with an address of their own to send our data to.
    """
    if not file.parent.is_dir():
        return None
    try:
        return read_own(checked_folder(file.parent) / file.name)
    except NotFound:
        return None
    except Forbidden as error:
        raise Forbidden("file_unreadable", f"{error.detail} Or {_WITHOUT_FILES}.") from None
    except UnicodeDecodeError:
        raise Forbidden("file_unreadable", f"{file} is damaged, it is no text: {_WITHOUT_FILES}.") from None
    except OSError as error:
        raise Forbidden("file_unreadable", f"{file} cannot be read ({error.strerror}): {_WITHOUT_FILES}.") from None
