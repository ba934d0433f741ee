"""Sessions of people who signed in with a key. Of the token in their cookie only the SHA-256 is kept."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.db.tables.base import Base, CreatedAt


class Session(Base):
    __tablename__ = "sessions"
    __table_args__ = (
        Index("ix_sessions_key_id_created_at", "key_id", "created_at"),
        Index("ix_sessions_expires_at", "expires_at"),
    )

    token_sha256: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"))
    created_at: Mapped[CreatedAt]
    seen_at: Mapped[datetime]
    """When it was last asked with, to the minute."""
    expires_at: Mapped[datetime]
