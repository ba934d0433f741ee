"""`tidemill deploy ...`"""

import itertools
from typing import Annotated

import typer
from rich.table import Table

from tidemill.cli.context import client, make_table, show, stderr
from tidemill.client import Tidemill
from tidemill.kit.durations import parse_duration_seconds
from tidemill.schemas.deployments import Deployment, DeploymentStatus

app = typer.Typer(no_args_is_help=True, help="Deployments: names under which models are served.")
DeploymentName = Annotated[str, typer.Argument(help="Name of the deployment.")]
_COLUMNS = ("name", "serves", "now", "updated", "by")


@app.command()
def apply(
    name: DeploymentName,
    model: Annotated[str, typer.Option("--model", help="What to serve: NAME@ALIAS, NAME:3 or NAME (its champion).")],
    wait: Annotated[bool, typer.Option("--wait", help="Until every model server serves it.")] = False,
    timeout: Annotated[str, typer.Option(help="Longest wait, such as 2m.")] = "2m",
) -> None:
    """Serve a model under a name; the same again changes nothing."""
    timeout_seconds = parse_duration_seconds(timeout)
    with client() as tidemill:
        deployment = tidemill.deployments.apply(name, model)
        if wait:
            _wait(tidemill, name, timeout_seconds)
    show(deployment, lambda: _table([deployment]))


@app.command(name="list")
def list_deployments() -> None:
    """List deployments by name."""
    with client() as tidemill:
        deployments = list(tidemill.deployments.list())
    show(deployments, lambda: _table(deployments))


@app.command(name="show")
def show_deployment(name: DeploymentName) -> None:
    """Show a deployment and where it stands on each model server."""
    with client() as tidemill:
        deployment, status = tidemill.deployments.get(name), tidemill.deployments.status(name)
    data = {**deployment.model_dump(mode="json"), "status": status.model_dump(mode="json")}
    show(data, lambda: [_table([deployment]), "", _status_table(status), "", _signature_table(deployment)])


@app.command()
def history(
    name: DeploymentName,
    limit: Annotated[int, typer.Option(min=1, help="Most changes to show.")] = 50,
) -> None:
    """Show the changes of a deployment, newest first, a deleted one's too."""
    with client() as tidemill:
        events = list(itertools.islice(tidemill.deployments.history(name), limit))
    rows = [(event.at, event.kind, event.reference, event.who_name or event.who) for event in events]
    show(events, lambda: make_table(None, "at", "change", "serves", "who", rows=rows))


@app.command()
def delete(name: DeploymentName, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Stop serving under a name. Its predictions and its history stay."""
    if not yes:
        typer.confirm(f"Stop serving {name}?", abort=True, err=True)
    with client() as tidemill:
        tidemill.deployments.delete(name)
    stderr().print(f"Deleted {name}.")


def _wait(tidemill: Tidemill, name: str, timeout_seconds: float) -> None:
    with stderr().status(f"{name}: waiting for the model servers") as spinner:

        def on_status(status: DeploymentStatus) -> None:
            spinner.update(f"{name}: {status.state}, {len(status.servers)} model servers")

        status = tidemill.deployments.wait(name, timeout_seconds, on_status)
    stderr().print(f"{name} serves {status.model_name}:{status.model_version}.")


def _table(deployments: list[Deployment]) -> Table:
    rows = [(d.name, d.reference, _now(d), d.updated_at, d.updated_by) for d in deployments]
    return make_table(None, *_COLUMNS, rows=rows)


def _now(deployment: Deployment) -> str | None:
    version = deployment.version
    return f"{version.model_name}:{version.model_version}" if version else None


def _status_table(status: DeploymentStatus) -> Table:
    rows = [
        (server.server_id, server.state, server.model_version, server.error_detail, server.seen_at)
        for server in status.servers
    ]
    return make_table(f"Status: {status.state}", "model server", "state", "version", "error", "seen", rows=rows)


def _signature_table(deployment: Deployment) -> Table:
    columns = deployment.version.signature["inputs"] if deployment.version else []
    rows = [(c["name"], c["type"], "yes" if c.get("required", True) else "no") for c in columns]
    return make_table("Input", "column", "type", "required", rows=rows)
