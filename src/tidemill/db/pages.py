"""Pages of rows that are bounded by bytes as well as by their number.

A value may be of many megabytes, and is kept packed. So the database first tells how large the rows are, in their order
and one after another, and only those that fit into a page are fetched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, String, Text, cast, func
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from tidemill.kit.limits import PAGE_BYTES

T = TypeVar("T")
_FEWEST_AT_ONCE, _MOST_AT_ONCE = 8, 100
"""The database unpacks a value to measure it, and may measure so many more than are wanted."""


@dataclass(frozen=True, slots=True)
class Cut(Generic[T]):
    """The rows of one page, and whether there are more after them."""

    items: list[T]
    more: bool


async def cut_rows(
    session: AsyncSession,
    query: Select[*tuple[Any, ...]],
    large: Sequence[InstrumentedAttribute[Any]],
    page_size: int,
    most_bytes: int = PAGE_BYTES,
) -> Cut[Any]:
    """At most ``page_size`` rows of ``query`` whose columns ``large`` take at most ``most_bytes`` as JSON together.

    At least one row, if there is any, so that whoever turns the pages gets on. ``query`` is ordered and has no limit.
    """
    sizes = query.with_only_columns(_size(large), maintain_column_froms=True).limit(page_size + 1)
    fitting, more = await _fitting(session, sizes, page_size, most_bytes)
    # Rows that came since the sizes were told move others past the page: one more shows it.
    limit = fitting if more else fitting + 1
    rows = list((await session.execute(query.limit(limit))).all())
    return Cut(rows[: max(1, fitting)], more or len(rows) > max(1, fitting))


async def cut_entities(
    session: AsyncSession, query: Select[*tuple[Any, ...]], large: Sequence[InstrumentedAttribute[Any]], page_size: int
) -> Cut[Any]:
    """As `cut_rows`, of a query for one entity."""
    cut = await cut_rows(session, query, large, page_size)
    return Cut([row[0] for row in cut.items], cut.more)


async def _fitting(
    session: AsyncSession, sizes: Select[*tuple[Any, ...]], page_size: int, most_bytes: int
) -> tuple[int, bool]:
    """How many of the first rows, of which ``sizes`` tells, fit into a page, and whether others follow."""
    count = total = 0
    at_once = max(_FEWEST_AT_ONCE, min(_MOST_AT_ONCE, page_size // 10))
    found = await session.stream_scalars(sizes, execution_options={"yield_per": at_once})
    try:
        async for size_bytes in found:
            total += size_bytes
            if count == page_size or (count and total > most_bytes):
                return count, True
            count += 1
    finally:
        await found.close()
    return count, False


def _size(columns: Sequence[InstrumentedAttribute[Any]]) -> ColumnElement[int]:
    parts = [func.coalesce(func.octet_length(cast(_as_json(column), Text)), 0) for column in columns]
    return sum(parts[1:], parts[0])


def _as_json(column: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    """JSON writes six bytes for a control character of a text."""
    return func.to_json(column) if isinstance(column.type, String) else cast(column, Text)
