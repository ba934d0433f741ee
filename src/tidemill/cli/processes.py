"""Commands that become a process of the platform, so that signals and exit codes are its own."""

import os
import sys

import typer

app = typer.Typer()
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def become(module: str, *arguments: str) -> None:
    """Replace this process by ``python -m module``; does not return."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606


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
    become("tidemill.platform", *context.args)


@app.command(context_settings={**_PASS_ON, "help_option_names": []})
def demo(context: typer.Context) -> None:
    """Run the whole loop on real flights. See `tidemill demo --help`."""
    become("tidemill.demo", *context.args)


@app.command(context_settings={**_PASS_ON, "help_option_names": []})
def admin(context: typer.Context) -> None:
    """Commands for the database itself: migrate, first key. See `tidemill admin --help`."""
    become("tidemill.admin", *context.args)
