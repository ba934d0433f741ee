"""When backups and drills were run, and how they ended. The backups themselves are only where they lie."""

from datetime import datetime

from sqlalchemy import BigInteger, Index
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.db.tables.base import Base, Json


class BackupRun(Base):
    """One run that ended. A run that was killed leaves no row."""

    __tablename__ = "backup_runs"
    __table_args__ = (Index("ix_backup_runs_kind_finished_at", "kind", "finished_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """``backup`` or ``drill``."""
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime]
    succeeded: Mapped[bool]
    backup_id: Mapped[str | None]
    """The backup that was made or drilled."""
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    detail: Mapped[Json]
    """Counts of what was done, or ``{"code", "detail"}`` of the error."""
