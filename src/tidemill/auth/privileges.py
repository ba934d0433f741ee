"""What the holder of one key may do with other keys: never more than with its own.

Whoever may manage keys could otherwise take from others what they may not give, or outlive their own key.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope, grants
from tidemill.kit.errors import Forbidden


def require_may_create(principal: Principal, scopes: Sequence[Scope], expires_at: datetime | None) -> None:
    """Raises Forbidden for a scope that ``principal`` does not hold, or a key that would outlive its own."""
    _require_all(principal, scopes, "A key can only grant scopes that it holds itself.")
    ends = principal.expires_at
    if ends is not None and (expires_at is None or expires_at > ends):
        raise Forbidden("expiry_beyond_own", "A key that expires can only make keys that expire no later than itself.")


def require_may_revoke(principal: Principal, scopes: Collection[str]) -> None:
    """Raises Forbidden for a key with a scope that ``principal`` does not hold."""
    _require_all(principal, scopes, "A key can only revoke keys whose scopes it holds itself.")


def _require_all(principal: Principal, scopes: Collection[str], otherwise: str) -> None:
    if not all(grants(principal.scopes, scope) for scope in scopes):
        raise Forbidden("scope_not_held", otherwise)
