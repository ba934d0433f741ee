"""The first keys of a new platform: made once, kept in files that only their owner can read."""

import os
from collections.abc import Sequence
from pathlib import Path

from tidemill.auth.keys import read_token
from tidemill.auth.scopes import Scope
from tidemill.auth.service import NewKey, create_key, is_valid
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.keys import ApiKey
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Unauthenticated


async def ensure_key(
    sessions: SessionFactory, file: Path, name: str, scopes: Sequence[Scope], environment: str
) -> str | None:
    """The token in ``file`` stays if it is still good; else a new key is made and its token written and returned."""
    async with transaction(sessions) as session:
        if file.exists():
            try:
                key = await session.get(ApiKey, read_token(file.read_text().strip()).key_id)
            except Unauthenticated:
                key = None
            if key is not None and is_valid(key, utc_now()):
                return None
        _, token = await create_key(session, NewKey(name, scopes), environment, "tidemill up")
        write_private(file, token + "\n")
        return token


def write_private(file: Path, text: str) -> None:
    """Write ``file`` with mode 0600 from its first byte on; it is whole or absent."""
    part = file.with_name(file.name + ".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)
