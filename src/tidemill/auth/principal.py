"""Who is asking."""

from dataclasses import dataclass
from datetime import datetime

from tidemill.auth.scopes import Scope, grants
from tidemill.kit.errors import Forbidden


@dataclass(frozen=True, slots=True)
class Principal:
    """The holder of an API key, as far as one request is concerned."""

    key_id: str
    name: str
    scopes: frozenset[str]
    expires_at: datetime | None = None
    """When the key ends; what it makes ends no later."""

    def require(self, scope: Scope) -> None:
        """Raise Forbidden unless the key carries ``scope``."""
        if not grants(self.scopes, scope):
            raise Forbidden("scope_missing", f"The key lacks the scope {scope.value}.")
