"""Which object store belongs to this database."""

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.db.tables.base import Base


class StoreIdentity(Base):
    """At most one row. The store holds the same identity as an object, so that another one, or none, is recognised."""

    __tablename__ = "store_identities"
    __table_args__ = (CheckConstraint("number = 1", name="ck_store_identities_single"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    identity: Mapped[str]
    marked_at: Mapped[datetime | None]
    """When the store was marked; None while that is under way."""
