"""`tidemill admin`: work on the database itself, without the api."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tidemill.adapters.object_store import open_object_store
from tidemill.admin import backups, ledger
from tidemill.admin.bucket import ensure_bucket
from tidemill.admin.keys import KeyFile, adopt_key, refuse_weak_key
from tidemill.admin.site import site
from tidemill.auth.scopes import Scope
from tidemill.auth.service import NewKey, create_key
from tidemill.cli.context import report
from tidemill.db.engine import create_engine, create_session_factory, transaction
from tidemill.db.migrate import migrate as run_migrations
from tidemill.features.stores import service as stores
from tidemill.kit.errors import Invalid, TidemillError
from tidemill.kit.exit_codes import exit_code_of
from tidemill.kit.own_files import close_to_others, told
from tidemill.settings.model import Settings
from tidemill.settings.sources import load_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


app.add_typer(backups.app)
app.add_typer(ledger.app)


@app.callback()
def admin() -> None:
    """Work on the data itself: the database that TIDEMILL_DATABASE__URL names, the object store, their backups."""
    close_to_others()


KeyFileOption = Annotated[Path | None, typer.Option(help="File with the token of this key; it is made valid.")]


@app.command()
def migrate(admin_key_file: KeyFileOption = None, serving_key_file: KeyFileOption = None) -> None:
    """Bring the database to the newest schema, and make the keys of given files valid."""
    settings = load_settings()
    wanted = [
        KeyFile(name, [scope], file)
        for name, scope, file in (
            ("admin", Scope.ADMIN, admin_key_file),
            ("model-server", Scope.SERVING, serving_key_file),
        )
        if file is not None
    ]
    for key in wanted:
        refuse_weak_key(key, settings.environment)
    run_migrations(settings.database)
    typer.echo("The schema is up to date.")
    if wanted:
        asyncio.run(_adopt(settings, wanted))


@app.command(name="create-bucket")
def create_bucket() -> None:
    """Create the object store's bucket unless it exists."""
    is_new = ensure_bucket(load_settings().object_store)
    typer.echo("The bucket was created." if is_new else "The bucket exists.")


@app.command(name="adopt-store")
def adopt_store(data_dir: backups.DataDir = None) -> None:
    """Make the object store this database's own, after it was moved by hand without its mark.

    Refused while rows name objects most of which the store lacks: its disk may not be mounted.
    """
    left = asyncio.run(_adopt_store(data_dir))
    typer.echo("The object store and the database know each other.")
    if left is not None:
        typer.echo("It bore another mark: a platform that used it as its own is refused from now on.")


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


async def _adopt_store(data_dir: Path | None) -> str | None:
    """The mark that the store bore, if it was not this database's."""
    async with site(data_dir) as settings:
        engine = create_engine(settings.database, "tidemill-admin")
        try:
            return await stores.renew(create_session_factory(engine), open_object_store(settings.object_store))
        finally:
            await engine.dispose()


async def _adopt(settings: Settings, wanted: Sequence[KeyFile]) -> None:
    engine = create_engine(settings.database, "tidemill-admin")
    try:
        async with transaction(create_session_factory(engine)) as session:
            for key in wanted:
                is_new = await adopt_key(session, key)
                typer.echo(f"The key {key.name} {'was made valid' if is_new else 'is valid'}.")
    finally:
        await engine.dispose()


async def _create(settings: Settings, new: NewKey) -> str:
    engine = create_engine(settings.database, "tidemill-admin")
    try:
        async with transaction(create_session_factory(engine)) as session:
            return (await create_key(session, new, settings.environment, "tidemill admin"))[1]
    finally:
        await engine.dispose()


def main() -> None:
    try:
        app(prog_name="tidemill admin")
    except TidemillError as error:
        _end(error)
    except OSError as error:  # a full disk, a folder that is not there
        _end(told(error))


def _end(error: TidemillError) -> None:
    report(error)
    sys.exit(exit_code_of(error))
