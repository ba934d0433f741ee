"""API keys on the wire."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from tidemill.kit.names import Name
from tidemill.schemas.base import Moment, Reply, RequestBody


class KeyCreate(RequestBody):
    name: Name
    """For people: whose key this is."""
    scopes: Annotated[list[str], Field(min_length=1, max_length=32)]
    """What the key may do, such as ``predict`` or ``datasets:write``."""
    expires_at: Moment | None = None
    """After this moment the key is refused; never, when absent."""


class Key(Reply):
    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    last_used_at: datetime | None
    """To the minute."""
    revoked_at: datetime | None


class KeyCreated(Key):
    token: str
    """The key itself, shown this once."""
