"""Keys whose tokens were made elsewhere, such as by ``deploy/init``, and come as secret files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.auth.keys import PresentedKey, read_token, same_secret
from tidemill.auth.scopes import Scope
from tidemill.db.tables.keys import ApiKey
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Conflict, Invalid, Unauthenticated
from tidemill.settings.weakness import weakness_of_key

_ADOPTED_BY = "tidemill admin migrate"


@dataclass(frozen=True)
class KeyFile:
    """The key ``name`` whose token is in ``file``."""

    name: str
    scopes: Sequence[Scope]
    file: Path


def refuse_weak_key(wanted: KeyFile, environment: str) -> None:
    """Raises Invalid, naming the file, for no key, one of another environment, or an example's."""
    if (reason := weakness_of_key(_text(wanted.file), environment)) is not None:
        raise Invalid("secret_weak", f"The key file {wanted.file.name}: {reason}")
    if _read(wanted.file).environment != environment:  # no process would accept it, a local one neither
        raise Invalid("key_file_foreign", f"The key of {wanted.file.name} is of another environment.")


async def adopt_key(session: AsyncSession, wanted: KeyFile) -> bool:
    """Make the token in the file valid, and revoke what was adopted under the name before; True if it was unknown.

    Raises Invalid if the file holds no key, Conflict if that key is known with another secret or was revoked.
    """
    presented = _read(wanted.file)
    key = await session.get(ApiKey, presented.key_id, with_for_update=True)
    await _revoke_others(session, wanted.name, presented.key_id)
    if key is None:
        session.add(_row(wanted, presented))
        return True
    if not same_secret(key.secret_sha256, presented.secret_sha256) or key.revoked_at is not None:
        raise Conflict("key_spent", f"The key of {wanted.file.name} was revoked or replaced: make a new one.")
    return False


def _read(file: Path) -> PresentedKey:
    try:
        return read_token(_text(file))
    except Unauthenticated:
        raise Invalid("key_file_invalid", f"The key file {file.name} holds no API key.") from None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Invalid("key_file_unreadable", f"The key file {file.name} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise Invalid("key_file_unreadable", f"The key file {file.name} is damaged, it is no text.") from None


def _row(wanted: KeyFile, presented: PresentedKey) -> ApiKey:
    return ApiKey(
        id=presented.key_id,
        name=wanted.name,
        secret_sha256=presented.secret_sha256,
        scopes=[scope.value for scope in wanted.scopes],
        created_by=_ADOPTED_BY,
        created_at=utc_now(),
    )


async def _revoke_others(session: AsyncSession, name: str, key_id: str) -> None:
    stale = (ApiKey.name == name, ApiKey.created_by == _ADOPTED_BY, ApiKey.id != key_id, ApiKey.revoked_at.is_(None))
    await session.execute(update(ApiKey).where(*stale).values(revoked_at=utc_now()))
