"""SQL of the ledger's rows as people read them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.pages import Cut, cut_entities
from tidemill.db.tables.predictions import Prediction


@dataclass(frozen=True, slots=True)
class Span:
    """Predictions of a deployment with ``start`` <= time < ``end``, of all its model versions or of one."""

    deployment: str
    start: datetime
    end: datetime
    model_version: int | None = None


async def page(
    session: AsyncSession, span: Span, page_size: int, before: tuple[datetime, str] | None
) -> Cut[Prediction]:
    """Newest first, those before the position ``before``."""
    query = select(Prediction).where(
        Prediction.deployment == span.deployment,
        Prediction.predicted_at >= span.start,
        Prediction.predicted_at < span.end,
    )
    if span.model_version is not None:
        query = query.where(Prediction.model_version == span.model_version)
    if before is not None:
        query = query.where(tuple_(Prediction.predicted_at, Prediction.prediction_id) < before)
    newest_first = query.order_by(Prediction.predicted_at.desc(), Prediction.prediction_id.desc())
    return await cut_entities(session, newest_first, (Prediction.inputs, Prediction.output), page_size)


async def get(session: AsyncSession, prediction_id: str, predicted_at: datetime) -> Prediction | None:
    return await session.get(Prediction, (prediction_id, predicted_at))
