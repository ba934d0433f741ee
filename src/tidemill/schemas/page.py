"""Pages of results: keyset cursors, opaque to callers."""

import base64
import binascii
import json
import math
from typing import Annotated, Generic, TypeVar

from pydantic import Field

from tidemill.kit.errors import Invalid
from tidemill.schemas.base import QueryParameters, Reply

T = TypeVar("T")
P = TypeVar("P", str, int)
MAX_PAGE_SIZE = 500


class PageQuery(QueryParameters):
    page_size: Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE)] = 50
    """Most items in one answer."""
    page_token: Annotated[str | None, Field(max_length=1024)] = None
    """``next_page_token`` of the page before."""

    def after_text(self) -> str | None:
        """As `after`, where the position is one text."""
        return self._after_one(str)

    def after_number(self) -> int | None:
        """As `after`, where the position is one whole number."""
        return self._after_one(int)

    def _after_one(self, kind: type[P]) -> P | None:
        position = self.after()
        if position is None:
            return None
        if len(position) != 1 or not isinstance(position[0], kind):
            raise Invalid("page_token_invalid", "The page token is not one of this list.")
        return position[0]

    def after(self) -> list[str | int | float] | None:
        """The position encoded in ``page_token``; None for the first page. Raises Invalid for a foreign token."""
        return decode_token(self.page_token) if self.page_token else None


class Page(Reply, Generic[T]):
    items: list[T]
    next_page_token: str | None = None
    """Absent on the last page."""


def encode_token(position: list[str | int | float]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode_token(token: str) -> list[str | int | float]:
    """Raises Invalid for what `encode_token` cannot have made."""
    try:
        position = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        position = None
    if not isinstance(position, list) or not all(map(_is_position, position)):
        raise Invalid("page_token_invalid", "The page token is not one of ours.")
    return position


def _is_position(part: object) -> bool:
    """Texts that are Unicode, finite numbers that fit PostgreSQL's: whoever can read base64 can write a token."""
    if isinstance(part, str):
        return not any("\ud800" <= character <= "\udfff" for character in part)
    if isinstance(part, bool):
        return False
    if isinstance(part, int):
        return -(2**63) <= part < 2**63
    return isinstance(part, float) and math.isfinite(part)
