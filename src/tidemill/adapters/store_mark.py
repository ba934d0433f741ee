"""The mark of an object store: tells the platform's own from another one, and from an empty mount point."""

import logging
import time
from collections.abc import Awaitable, Callable

from tidemill.kit.errors import Unavailable

log = logging.getLogger(__name__)

MARK = "store-identity"
"""Key of the mark."""
FOREIGN = "object_store_foreign"
"""Code of Unavailable for a store that is not ours."""
AWAY = frozenset({FOREIGN, "object_store_unavailable", "object_store_refuses"})
"""Codes of Unavailable for a store that cannot be used until somebody brings it back; a full one is not among them."""


class StoreMark:
    """Compares the mark that a store holds with the identity that it must have, and remembers for a while."""

    def __init__(
        self, mark: Callable[[], Awaitable[str | None]], identity: Callable[[], Awaitable[str]], seconds: float
    ) -> None:
        self._mark = mark
        self._ask_identity = identity
        self._seconds = seconds
        self._identity: str | None = None
        self._checked_at = float("-inf")
        self._is_foreign = False

    async def check(self, *, anew: bool = False) -> None:
        """Raises Unavailable for another store. ``anew``: whatever was found a moment ago."""
        if not anew and time.monotonic() - self._checked_at < self._seconds:
            return
        was_foreign = self._is_foreign
        try:
            await self._compare()
        except Unavailable as error:
            self._is_foreign = self._is_foreign or error.code == FOREIGN
            if self._is_foreign and not was_foreign:
                log.warning("%s", error.detail, extra={"reason": error.code})
            raise
        self._is_foreign = False
        if was_foreign:
            log.info("The object store is the platform's own again")

    async def _compare(self) -> None:
        if self._identity is None:
            self._identity = await self._ask_identity()
        found = await self._mark()
        if found == self._identity:
            self._checked_at = time.monotonic()
            return
        # A restore or an operator may have given both a new identity meanwhile.
        self._identity, self._checked_at = await self._ask_identity(), float("-inf")
        if found is None:
            raise Unavailable(FOREIGN, "The object store lacks its mark: is its disk mounted, its address right?")
        if found != self._identity:
            raise Unavailable(FOREIGN, "The object store holds the mark of another one: is its address right?")
