"""`tidemill up`."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from tidemill.kit.errors import TidemillError
from tidemill.kit.exit_codes import exit_code_of
from tidemill.kit.logging import configure_logging
from tidemill.kit.own_files import close_to_others, resolved, told
from tidemill.platform.layout import Layout
from tidemill.platform.ports import Ports, is_loopback
from tidemill.platform.supervisor import Started, platform
from tidemill.sandbox.confinement import protect_process
from tidemill.settings.sources import settings_or_exit

_OPEN_HOST = (
    "Listening on {host}: other machines can reach api, model server and MLflow. All want keys, but keys and data "
    "travel unencrypted. docs/edge.md puts Nginx with TLS in front."
)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _port(of: str) -> Any:
    return typer.Option(min=0, max=65535, help=f"Port of {of}; 0 for any free one.")


class ConsoleObserver:
    """Says on stderr what is starting; stdout stays for the addresses."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def waiting(self) -> None:
        self._console.print("  waiting for processes of an earlier start to end ...", style="dim")

    def starting(self, name: str) -> None:
        self._console.print(f"  starting {name} ...", style="dim")

    def started(self, name: str, seconds: float) -> None:
        self._console.print(f"  [green]up[/] {name} [dim]({seconds:.1f} s)[/]")

    def restarting(self, name: str, exit_code: int) -> None:
        self._console.print(f"  [yellow]{name} ended with {exit_code}; restarting it[/]")

    def set_aside(self, file: Path, kept: Path, fault: str) -> None:
        said = f"  {file} was set aside, because {fault}, and is made anew; the old one is {kept}"
        self._console.print(said, style="yellow", markup=False, soft_wrap=True)


@app.command()
def up(  # noqa: PLR0913, PLR0917 - the options of a command
    data_dir: Annotated[
        Path, typer.Option(envvar="TIDEMILL_DATA_DIR", help="Folder that holds everything; made when absent.")
    ] = Path("tidemill-data"),
    host: Annotated[
        str, typer.Option(help="Address that api, model server and MLflow listen on; all of them want keys.")
    ] = "127.0.0.1",
    api_port: Annotated[int, _port("the api")] = 8000,
    model_server_port: Annotated[int, _port("the model server")] = 8001,
    worker_port: Annotated[int, _port("the worker's metrics")] = 8002,
    mlflow_port: Annotated[int, _port("MLflow")] = 5000,
    allow_unconfined: Annotated[
        bool, typer.Option(help="Run models that bring code of their own also where this machine cannot confine them.")
    ] = False,
) -> None:
    """Start PostgreSQL, MLflow, the api, a model server and a worker on this machine, and stay until stopped.

    Says ``ready`` when a prediction could be served. Ctrl-C or SIGTERM stops everything cleanly.
    """
    close_to_others()
    if allow_unconfined:
        os.environ["TIDEMILL_SANDBOX__ALLOW_UNCONFINED"] = "true"  # every process that is started inherits it
    settings_or_exit()  # before anything starts: every process of ours would refuse what is wrong with them
    configure_logging("up", "local", "warning")
    ports = Ports(api_port, model_server_port, worker_port, mlflow_port)
    asyncio.run(run(Layout(resolved(data_dir)), ports, host))


async def run(layout: Layout, ports: Ports, host: str) -> None:
    console = Console(stderr=True, highlight=False)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    staying = asyncio.create_task(_start_and_stay(layout, ports, host, console))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({staying, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not staying.done():
        console.print("Stopping ...", style="dim")
        staying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await staying


async def _start_and_stay(layout: Layout, ports: Ports, host: str, console: Console) -> None:
    """Runs until it is cancelled, which happens once: a second signal must not cut the stopping short."""
    console.print(f"Tidemill in {layout.root}")
    if not is_loopback(host):
        console.print(_OPEN_HOST.format(host=host), style="yellow")
    began = time.monotonic()
    async with platform(layout, ports, host, ConsoleObserver(console)) as started:
        _announce(started, layout, time.monotonic() - began)
        await asyncio.Event().wait()


def _announce(started: Started, layout: Layout, seconds: float) -> None:
    addresses = started.addresses
    if started.new_admin_token is not None:
        typer.echo(f"admin key      {started.new_admin_token}")
        typer.echo(f"               shown once; kept in {layout.admin_key}, which only you can read")
    typer.echo(f"api            {addresses.api}/docs")
    typer.echo(f"model server   {addresses.model_server}/docs")
    typer.echo(f"mlflow         {addresses.mlflow}")
    typer.echo("               wants a key too: in a browser any name, and the key as password")
    typer.echo(f"logs           {layout.logs}")
    if started.store_is_away:
        typer.echo("object store   is not this platform's: is its disk mounted? Jobs wait for it; `tidemill doctor`")
    if started.model_server_waits_for_disk:
        typer.echo("predictions    are refused: the model server's disk is full or read-only; `tidemill doctor`")
    typer.echo(f"ready          after {seconds:.1f} s")
    sys.stdout.flush()


def main() -> None:
    protect_process()
    try:
        app(prog_name="tidemill up")
    except TidemillError as error:
        _end(error)
    except OSError as error:  # a folder that cannot be written, a full disk
        _end(told(error))


def _end(error: TidemillError) -> None:
    said = Text.assemble((f"{error.title}:", "bold red"), f" {error.detail} ", (f"({error.code})", "dim"))
    Console(stderr=True, highlight=False).print(said, soft_wrap=True)
    sys.exit(exit_code_of(error))
