"""Deployments, their history, and the model servers that serve them."""

from datetime import datetime

from sqlalchemy import BigInteger, Identity, Index
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.db.tables.base import Base, CreatedAt, Json


class Deployment(Base):
    """A name and the model reference that it serves. ``alias`` or ``number`` is set, never both."""

    __tablename__ = "deployments"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    model_name: Mapped[str]
    alias: Mapped[str | None]
    number: Mapped[int | None]
    created_at: Mapped[CreatedAt]
    created_by: Mapped[str]
    updated_at: Mapped[CreatedAt]
    updated_by: Mapped[str]

    @property
    def reference(self) -> str:
        return f"{self.model_name}@{self.alias}" if self.alias else f"{self.model_name}:{self.number}"


class DeploymentEvent(Base):
    """One change of a deployment. Append-only: a trigger refuses UPDATE, DELETE and TRUNCATE."""

    __tablename__ = "deployment_history"
    __table_args__ = (Index("ix_deployment_history_deployment_seq", "deployment", "seq"),)

    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    deployment: Mapped[str]
    kind: Mapped[str]
    reference: Mapped[str | None]
    """None when the deployment was deleted."""
    who: Mapped[str]
    at: Mapped[datetime]
    request_id: Mapped[str | None]


class ModelServer(Base):
    """A model server's last report."""

    __tablename__ = "model_servers"

    id: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime]
    report: Mapped[Json]
