"""Monitoring reports, stored as they were computed."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.db.tables.base import Base, CreatedAt, Json


class MonitoringReport(Base):
    """One finished report. Its id is given when the report is asked for, so that a job run twice stores it once."""

    __tablename__ = "monitoring_reports"
    __table_args__ = (Index("ix_monitoring_reports_deployment_id", "deployment", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    deployment: Mapped[str]
    since: Mapped[datetime]
    until: Mapped[datetime]
    model_version: Mapped[int | None]
    job_id: Mapped[str]
    content: Mapped[Json]
    created_by: Mapped[str]
    created_at: Mapped[CreatedAt]
