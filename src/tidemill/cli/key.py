"""`tidemill key ...`"""

from datetime import timedelta
from typing import Annotated

import typer

from tidemill.cli.context import client, make_table, show, stderr
from tidemill.kit.clock import utc_now
from tidemill.kit.durations import parse_duration_seconds

app = typer.Typer(no_args_is_help=True, help="API keys.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key this is.")],
    scope: Annotated[list[str], typer.Option("--scope", help="What it may do; may be repeated.")],
    expires_in: Annotated[str | None, typer.Option(help="For how long, such as 90d; for ever when absent.")] = None,
) -> None:
    """Create a key. Its token goes to stdout, this once."""
    expires_at = utc_now() + timedelta(seconds=parse_duration_seconds(expires_in)) if expires_in else None
    with client() as tidemill:
        key = tidemill.keys.create(name, scope, expires_at)
    stderr().print(f"Created {key.id}. The token is shown only now:")
    show(key, lambda: [key.token])


@app.command(name="list")
def list_keys() -> None:
    """List keys, newest first."""
    with client() as tidemill:
        keys = list(tidemill.keys.list())
    columns = ("id", "name", "scopes", "created", "expires", "last used", "revoked")
    rows = [(k.id, k.name, " ".join(k.scopes), k.created_at, k.expires_at, k.last_used_at, k.revoked_at) for k in keys]
    show(keys, lambda: make_table(None, *columns, rows=rows))


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="Id of the key, key_...")]) -> None:
    """Revoke a key at once."""
    with client() as tidemill:
        key = tidemill.keys.revoke(key_id)
    show(key, lambda: [f"Revoked {key.id} ({key.name})."])
