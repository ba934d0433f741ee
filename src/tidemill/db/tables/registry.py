"""Models, their versions, the aliases that point to them, and what was decided about them."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Identity, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.db.tables.base import Base, CreatedAt, Json


class Model(Base):
    """A name under which versions are registered. Whoever moves one of its aliases locks this row first."""

    __tablename__ = "models"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    last_number: Mapped[int] = mapped_column(server_default="0")
    """Of the newest version ever; numbers are not used twice."""
    policy: Mapped[Json]
    policy_revision: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[CreatedAt]
    created_by: Mapped[str]


class ModelVersion(Base):
    """One trained model. The row outlives its deletion, since history and predictions refer to it."""

    __tablename__ = "model_versions"
    __table_args__ = (
        UniqueConstraint("model_id", "number"),
        Index("uq_model_versions_job_id", "job_id", unique=True, postgresql_where=text("job_id IS NOT NULL")),
        Index("ix_model_versions_bundle_sha256", "bundle_sha256"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    model_name: Mapped[str]
    number: Mapped[int]
    source: Mapped[str]
    """``training`` or ``import``."""
    mlflow_run_id: Mapped[str | None]
    mlflow_model_uri: Mapped[str | None]
    dataset_version_id: Mapped[str | None]
    job_id: Mapped[str | None]
    flavor: Mapped[str]
    task: Mapped[str | None]
    target: Mapped[str | None]
    classes: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))
    signature: Mapped[Json]
    metric: Mapped[str | None]
    """The metric that training optimised, and that the gate compares unless its policy names another."""
    metrics: Mapped[Json]
    warnings: Mapped[list[Any]]
    bundle_sha256: Mapped[str]
    bundle_size_bytes: Mapped[int] = mapped_column(BigInteger)
    holdout_key: Mapped[str | None]
    code_allowed_by: Mapped[str | None]
    """Who allowed that loading this model runs code of its maker; None for formats that hold data only."""
    created_at: Mapped[CreatedAt]
    created_by: Mapped[str]
    deleted_at: Mapped[datetime | None]
    deleted_by: Mapped[str | None]


class ModelAlias(Base):
    """Where an alias points now."""

    __tablename__ = "model_aliases"
    __table_args__ = (
        ForeignKeyConstraint(["model_id", "number"], ["model_versions.model_id", "model_versions.number"]),
    )

    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"), primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    moved_at: Mapped[datetime]
    moved_by: Mapped[str]


class ModelVersionPin(Base):
    """Somebody who needs a version, such as a deployment that names it; it cannot be deleted meanwhile."""

    __tablename__ = "model_version_pins"

    model_version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.id"), primary_key=True)
    dependent: Mapped[str] = mapped_column(primary_key=True)
    """Such as ``deployment/adult-income``."""


class GateDecision(Base):
    """What the gate found about a challenger, with every number it looked at. Never changed (a trigger refuses)."""

    __tablename__ = "gate_decisions"
    __table_args__ = (
        Index("ix_gate_decisions_model_id_number_decided_at", "model_id", "number", "decided_at"),
        UniqueConstraint("job_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    number: Mapped[int]
    champion_number: Mapped[int | None]
    passed: Mapped[bool]
    metric: Mapped[str | None]
    policy: Mapped[Json]
    policy_revision: Mapped[int]
    checks: Mapped[list[Any]]
    comparisons: Mapped[list[Any]]
    reasons: Mapped[list[Any]]
    job_id: Mapped[str]
    decided_at: Mapped[datetime]
    decided_for: Mapped[str]
    """Principal on whose behalf the gate was asked."""


class AliasEvent(Base):
    """One move of an alias. Append-only: a trigger refuses UPDATE, DELETE and TRUNCATE."""

    __tablename__ = "alias_history"
    __table_args__ = (Index("ix_alias_history_model_id_alias_seq", "model_id", "alias", "seq"),)

    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    alias: Mapped[str]
    from_number: Mapped[int | None]
    to_number: Mapped[int | None]
    """None when the alias was removed."""
    kind: Mapped[str]
    moved_at: Mapped[datetime]
    who: Mapped[str]
    why: Mapped[str]
    decision_id: Mapped[str | None] = mapped_column(ForeignKey("gate_decisions.id"))
    request_id: Mapped[str | None]
