"""`tidemill admin`: work on the database itself, without the api."""

import asyncio
import sys
from typing import Annotated

import typer

from tidemill.auth.scopes import Scope
from tidemill.auth.service import NewKey, create_key
from tidemill.db.engine import create_engine, create_session_factory, transaction
from tidemill.db.migrate import migrate as run_migrations
from tidemill.kit.errors import Invalid, TidemillError
from tidemill.kit.exit_codes import exit_code_of
from tidemill.settings.model import Settings
from tidemill.settings.sources import load_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def admin() -> None:
    """Work on the database that TIDEMILL_DATABASE__URL names."""


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    run_migrations(load_settings().database)
    typer.echo("The schema is up to date.")


@app.command(name="create-key")
def create_key_command(
    name: Annotated[str, typer.Argument(help="Whose key this is.")],
    scope: Annotated[list[str], typer.Option("--scope", help="What it may do; may be repeated.")],
) -> None:
    """Create a key without having one. The token goes to stdout, this once."""
    known = {item.value for item in Scope}
    if unknown := set(scope) - known:
        raise Invalid("scope_unknown", f"{len(unknown)} unknown scopes. Scopes are: {', '.join(sorted(known))}.")
    typer.echo(asyncio.run(_create(load_settings(), NewKey(name, [Scope(item) for item in scope]))))


async def _create(settings: Settings, new: NewKey) -> str:
    engine = create_engine(settings.database, "tidemill-admin")
    try:
        async with transaction(create_session_factory(engine)) as session:
            return (await create_key(session, new, settings.environment, "tidemill admin"))[1]
    finally:
        await engine.dispose()


def main() -> None:
    try:
        app()
    except TidemillError as error:
        typer.echo(f"{error.title}: {error.detail}", err=True)
        sys.exit(exit_code_of(error))
