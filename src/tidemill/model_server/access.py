"""Whose keys may predict, known from the snapshot, so that it holds while the api is away."""

from collections.abc import Sequence
from datetime import datetime

from tidemill.auth.keys import read_token, same_secret, token_of_header
from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Unauthenticated, Unavailable
from tidemill.schemas.serving import KeySpec


class KeyRing:
    """The keys of the last known snapshot, of one environment."""

    def __init__(self, environment: str) -> None:
        self._environment = environment
        self._keys: dict[str, tuple[KeySpec, Principal]] | None = None
        self._used: dict[str, datetime] = {}

    def replace(self, keys: Sequence[KeySpec]) -> None:
        self._keys = {key.id: (key, Principal(key.id, key.id, frozenset(key.scopes))) for key in keys}

    def authenticate(self, authorization: str | None) -> Principal:
        """The holder of the key in an ``Authorization`` header, who may predict.

        Raises Unauthenticated, Forbidden without the scope ``predict``, or Unavailable before the first snapshot.
        """
        presented = read_token(token_of_header(authorization), self._environment)
        if self._keys is None:
            raise Unavailable("not_synchronised", "The model server has not heard from the api yet.")
        known = self._keys.get(presented.key_id)
        if known is None or not same_secret(known[0].secret_sha256, presented.secret_sha256):
            raise Unauthenticated("key_rejected", "The API key is unknown, revoked or expired.")
        key, principal = known
        now = utc_now()
        if key.expires_at is not None and key.expires_at <= now:
            raise Unauthenticated("key_rejected", "The API key is unknown, revoked or expired.")
        principal.require(Scope.PREDICT)
        self._used[key.id] = now
        return principal

    async def principal_of(self, authorization: str | None) -> Principal:
        """As `authenticate`."""
        return self.authenticate(authorization)

    def take_uses(self) -> dict[str, datetime]:
        """Last use of each key since this was asked before."""
        used, self._used = self._used, {}
        return used

    def give_back_uses(self, used: dict[str, datetime]) -> None:
        """Uses that could not be reported."""
        self._used = {**used, **self._used}
