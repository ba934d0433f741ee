"""Feedback: what turned out to be true. Append-only; a trigger refuses changes and deletions."""

from datetime import datetime

from sqlalchemy import BigInteger, Identity, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.db.tables.base import Base, CreatedAt
from tidemill.kit.labels import Label


class Feedback(Base):
    """One truth as it was told. Of several for a prediction the last by (observed_at, seq) counts."""

    __tablename__ = "feedback"
    __table_args__ = (Index("ix_feedback_prediction_id", "prediction_id", "observed_at", "seq"),)

    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    prediction_id: Mapped[str]
    """No foreign key: feedback may arrive before the ledger's row does."""
    truth: Mapped[Label] = mapped_column(JSONB)
    observed_at: Mapped[datetime]
    principal: Mapped[str]
    request_id: Mapped[str | None]
    received_at: Mapped[CreatedAt]
