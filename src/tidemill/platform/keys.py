"""The first secrets of a new platform: made once, kept in files that only their owner can read.

A file that does not hold what it should is never overwritten: it is moved to the quarantine and told, and the secret is
made anew, so that a damaged file keeps nobody from starting.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.auth.keys import read_token, same_secret
from tidemill.auth.service import NewKey, create_key, is_valid
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.keys import ApiKey
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import NotFound, Unauthenticated
from tidemill.kit.own_files import read_own, set_aside, write_private

_TOKEN_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
"""What `secrets.token_urlsafe` makes of so many bytes."""
_KEY_FAULTS = {"key_malformed": "it holds no API key", "key_foreign": "its key is of another environment"}


@dataclass(frozen=True)
class SecretFiles:
    """quarantine: the folder for what is set aside. told: of the file, where it lies now, and what was wrong with it.

    Every method raises Forbidden for a file that is somebody else's, cannot be read, or is a link or a folder.
    """

    quarantine: Path
    told: Callable[[Path, Path, str], None]

    async def ensure_key(self, sessions: SessionFactory, file: Path, wanted: NewKey, environment: str) -> str | None:
        """The token in ``file`` stays if it is still good; else a new key is made, its token written and returned."""
        async with transaction(sessions) as session:
            found = _read(file)
            fault = await _fault_of_key(session, found, wanted, environment) if found is not None else None
            if found is not None and fault is None:
                return None
            _, token = await create_key(session, wanted, environment, "tidemill up")
            self._write(file, token, fault)
            return token

    def ensure_token(self, file: Path) -> None:
        """A random token in ``file``, made once."""
        found = _read(file)
        fault = None if found is None or _TOKEN.fullmatch(found) else "it holds no token that Tidemill made"
        if found is None or fault is not None:
            self._write(file, secrets.token_urlsafe(_TOKEN_BYTES), fault)

    def _write(self, file: Path, secret: str, fault: str | None) -> None:
        if fault is not None:
            self.told(file, set_aside(file, self.quarantine), fault)
        write_private(file, secret + "\n")


def _read(file: Path) -> str | None:
    """None if there is no file; what is no text is no secret either."""
    try:
        return read_own(file).strip()
    except NotFound:
        return None
    except UnicodeDecodeError:
        return ""


async def _fault_of_key(session: AsyncSession, token: str, wanted: NewKey, environment: str) -> str | None:
    """Why ``token`` is not what ``wanted`` asks for; None if it is."""
    try:
        presented = read_token(token, environment)
    except Unauthenticated as error:
        return _KEY_FAULTS[error.code]
    key = await session.get(ApiKey, presented.key_id)
    if key is None or not same_secret(key.secret_sha256, presented.secret_sha256):
        return "the database does not know its key"
    if not is_valid(key, utc_now()):
        return "its key was revoked, or has expired"
    return None if set(key.scopes) == set(wanted.scopes) else "its key has other scopes"
