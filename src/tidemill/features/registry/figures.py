"""What the gate decided and how aliases moved, counted over all time."""

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.features.registry.states import CHALLENGER, CHAMPION, Move

_ALIASES = (CHAMPION, CHALLENGER)
_OTHER = "other"
_VERSIONS = text("SELECT count(*) FROM model_versions WHERE deleted_at IS NULL")
_DECISIONS = text("SELECT passed, count(*) FROM gate_decisions GROUP BY passed")
_MOVES = text(
    """
    SELECT CASE WHEN alias IN ('champion', 'challenger') THEN alias ELSE 'other' END AS shown, kind, count(*)
    FROM alias_history GROUP BY shown, kind
    """
)


async def read(session: AsyncSession) -> list[Metric]:
    """Model versions, gate decisions and alias moves; aliases that people name themselves count as ``other``."""
    decided = {bool(passed): int(count) for passed, count in await session.execute(_DECISIONS)}
    moved = {(str(alias), str(kind)): int(count) for alias, kind, count in await session.execute(_MOVES)}
    versions = await session.scalar(_VERSIONS)
    return [
        GaugeMetricFamily("tidemill_model_versions", "Model versions that were not deleted.", versions),
        _decisions(decided),
        _moves(moved),
    ]


def _decisions(counts: dict[bool, int]) -> Metric:
    family = CounterMetricFamily(
        "tidemill_gate_decisions_total", "Decisions of the gate: passed or refused.", labels=("outcome",)
    )
    family.add_metric(["passed"], counts.get(True, 0))
    family.add_metric(["refused"], counts.get(False, 0))
    return family


def _moves(counts: dict[tuple[str, str], int]) -> Metric:
    family = CounterMetricFamily(
        "tidemill_alias_moves_total", "Moves of aliases, by what caused them.", labels=("alias", "kind")
    )
    for alias in (*_ALIASES, _OTHER):
        for kind in Move:
            family.add_metric([alias, kind.value], counts.get((alias, kind.value), 0))
    return family
