"""Backups by a role that is no superuser and owns neither database, as in a deployed stack."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.integration.backup.stacks import MakeStack, Vault, fill, quiet, rows_of
from tidemill.admin.drill import Drill
from tidemill.backup.stack import Stack, name_of, with_url
from tidemill.kit.errors import Forbidden
from tidemill.settings.model import DatabaseSettings

_OWNERS = """
    SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
"""


_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


@dataclass(frozen=True)
class Roles:
    tidemill: str
    mlflow: str
    backup: str


@pytest.fixture
def roles(postgres_url: str) -> Iterator[Roles]:
    """Two owners, and a role that is a member of both and may make databases."""
    names = Roles(*(f"{name}_{os.getpid()}_{os.urandom(3).hex()}" for name in ("tidemill", "mlflow", "backup")))
    with psycopg.connect(postgres_url.replace("+psycopg", "", 1), autocommit=True) as connection:
        for name in vars(names).values():
            connection.execute(f"CREATE ROLE {name} LOGIN NOSUPERUSER".encode())
        connection.execute(f"ALTER ROLE {names.backup} CREATEDB".encode())
        connection.execute(f"GRANT {names.tidemill}, {names.mlflow} TO {names.backup}".encode())
        yield names


def _as_user(database: DatabaseSettings, user: str) -> DatabaseSettings:
    url = make_url(database.url.get_secret_value()).set(username=user)
    return with_url(database, url.render_as_string(hide_password=False))


def _given_to(stack: Stack, roles: Roles, user: str) -> Stack:
    """The stack with databases owned by ``roles``, as ``user`` reaches it."""
    for database, owner in ((stack.tidemill, roles.tidemill), (stack.mlflow, roles.mlflow)):
        with psycopg.connect(database.url.get_secret_value().replace("+psycopg", "", 1), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name_of(database)} OWNER TO {owner}".encode())
            for (table,) in connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall():
                connection.execute(f'ALTER TABLE public."{table}" OWNER TO {owner}'.encode())
    tidemill = _as_user(stack.tidemill, user)
    settings = stack.settings.model_copy(update={"database": tidemill})
    return Stack(settings, tidemill, _as_user(stack.mlflow, user), stack.store)


async def test_a_member_of_the_owners_backs_up_restores_and_drills(
    make_stack: MakeStack, vault: Vault, roles: Roles
) -> None:
    stack = make_stack()
    await fill(stack)
    made = await vault.back_up(_given_to(stack, roles, roles.backup))
    fresh = make_stack(empty=True)
    await vault.restore(_given_to(fresh, roles, roles.backup))
    assert await rows_of(fresh.tidemill, _OWNERS) == [(roles.tidemill,)]
    assert await rows_of(fresh.mlflow, _OWNERS) == [(roles.mlflow,)]
    used = _given_to(fresh, roles, roles.tidemill)
    assert await rows_of(used.tidemill, "SELECT name FROM models") == [("loans",)]
    drill = Drill(
        _given_to(fresh, roles, roles.backup), vault.target, made.manifest, vault.keys, vault.scratch(), quiet
    )
    assert (await drill.run()).dangling == 0


async def test_somebody_else_may_not_restore(make_stack: MakeStack, vault: Vault, roles: Roles) -> None:
    await vault.back_up(make_stack())
    with pytest.raises(Forbidden) as refused:
        await vault.restore(_given_to(make_stack(empty=True), roles, roles.mlflow))
    assert refused.value.code == "restore_not_permitted"
