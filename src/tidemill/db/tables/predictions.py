"""The prediction ledger."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.db.tables.base import Base


class Prediction(Base):
    """One predicted row, in the partition of its day (UTC). The id begins with the moment ``predicted_at``.

    ``inputs`` and ``output`` are ``json``, not ``jsonb``: kept as they were written, to the last digit.
    """

    __tablename__ = "predictions"
    __table_args__ = (
        Index("ix_predictions_deployment_predicted_at", "deployment", "predicted_at", "prediction_id"),
        {"postgresql_partition_by": "RANGE (predicted_at)"},
    )

    prediction_id: Mapped[str] = mapped_column(primary_key=True)
    predicted_at: Mapped[datetime] = mapped_column(primary_key=True)
    deployment: Mapped[str]
    model_name: Mapped[str]
    model_version: Mapped[int]
    request_id: Mapped[str | None]
    principal: Mapped[str | None]
    inputs: Mapped[Any] = mapped_column(JSON, nullable=False)
    output: Mapped[Any] = mapped_column(JSON, nullable=False)
