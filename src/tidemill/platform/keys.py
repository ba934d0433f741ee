"""The first secrets of a new platform: made once, kept in files that only their owner can read."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.auth.keys import read_token, same_secret
from tidemill.auth.scopes import Scope
from tidemill.auth.service import NewKey, create_key, is_valid
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.keys import ApiKey
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Conflict, NotFound, Unauthenticated
from tidemill.kit.own_files import read_own, write_private

_TOKEN_BYTES = 32


async def ensure_key(
    sessions: SessionFactory, file: Path, name: str, scopes: Sequence[Scope], environment: str
) -> str | None:
    """The token in ``file`` stays if it is still good; else a new key is made and its token written and returned.

    Raises Forbidden if the file is somebody else's.
    """
    async with transaction(sessions) as session:
        if await _is_good(session, file, environment):
            return None
        _, token = await create_key(session, NewKey(name, scopes), environment, "tidemill up")
        write_private(file, token + "\n")
        return token


async def _is_good(session: AsyncSession, file: Path, environment: str) -> bool:
    try:
        presented = read_token(read_own(file).strip(), environment)
    except (NotFound, Unauthenticated):
        return False
    except UnicodeDecodeError:
        raise _no_text(file) from None
    key = await session.get(ApiKey, presented.key_id)
    return key is not None and same_secret(key.secret_sha256, presented.secret_sha256) and is_valid(key, utc_now())


def ensure_token(file: Path) -> None:
    """A random token in ``file``, made once. Raises Forbidden if the file is somebody else's."""
    try:
        found = read_own(file).strip()
    except NotFound:
        found = ""
    except UnicodeDecodeError:
        raise _no_text(file) from None
    if not found:
        write_private(file, secrets.token_urlsafe(_TOKEN_BYTES) + "\n")


def _no_text(file: Path) -> Conflict:
    return Conflict("secret_damaged", f"{file} is damaged, it is no text; move it away and one is made anew.")
