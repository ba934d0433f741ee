"""Datasets, their versions, and what keeps a version from being deleted."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.db.tables.base import Base, CreatedAt, Json


class Dataset(Base):
    """A name under which versions are kept. Whoever adds or removes a version locks this row first."""

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    last_number: Mapped[int] = mapped_column(server_default="0")
    """Of the newest version ever; numbers are not used twice."""
    contract: Mapped[Json | None]
    """A table schema; absent until the first version is ready."""
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]


class DatasetVersion(Base):
    """One file as it was pushed. Ready versions never change; those in the making have no number."""

    __tablename__ = "dataset_versions"
    __table_args__ = (
        UniqueConstraint("dataset_id", "number"),
        UniqueConstraint("dataset_id", "fingerprint"),
        Index("ix_dataset_versions_sha256", "sha256"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    dataset_name: Mapped[str]
    number: Mapped[int | None]
    state: Mapped[str]
    fingerprint: Mapped[str]
    """SHA-256 of the raw bytes' SHA-256 and the options of reading: equal ones are the same version."""
    sha256: Mapped[str]
    """Of the raw bytes."""
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    filename: Mapped[str]
    options: Mapped[Json]
    new_contract: Mapped[bool]
    source: Mapped[Json | None]
    table_schema: Mapped[Json | None]
    profile: Mapped[Json | None]
    parts: Mapped[list[Any]]
    """``{key, sha256, size_bytes, row_count}`` each, in the order of the rows."""
    row_count: Mapped[int | None] = mapped_column(BigInteger)
    warnings: Mapped[list[str]]
    job_id: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    created_by: Mapped[str]
    ready_at: Mapped[datetime | None]


class DatasetPin(Base):
    """Something, such as ``model/adult-income:3``, that depends on a version; with a job, until that job has ended."""

    __tablename__ = "dataset_pins"
    __table_args__ = (Index("ix_dataset_pins_job_id", "job_id"),)

    dataset_version_id: Mapped[str] = mapped_column(ForeignKey("dataset_versions.id"), primary_key=True)
    dependent: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    created_at: Mapped[CreatedAt]
