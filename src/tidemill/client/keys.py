"""API keys."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from tidemill.client.pages import iterate
from tidemill.client.transport import Transport, segment
from tidemill.schemas.keys import Key, KeyCreated


class Keys:
    """``tidemill.keys``: API keys; needs the scope ``admin``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, name: str, scopes: Sequence[str], expires_at: datetime | None = None) -> KeyCreated:
        """A new key; its ``token`` is shown this once."""
        body = {"name": name, "scopes": list(scopes), "expires_at": expires_at.isoformat() if expires_at else None}
        return KeyCreated.model_validate(self._transport.request("POST", "/api/v1/keys", json=body))

    def list(self) -> Iterator[Key]:
        """All keys, newest first, page by page."""
        return iterate(self._transport, "/api/v1/keys", Key)

    def revoke(self, key_id: str) -> Key:
        """Refuse the key from now on. Raises Conflict if it was revoked before."""
        return Key.model_validate(self._transport.request("POST", f"/api/v1/keys/{segment(key_id)}:revoke"))
