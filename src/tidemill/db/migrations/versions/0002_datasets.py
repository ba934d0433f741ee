"""Tables of datasets."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_datasets()
    _create_dataset_versions()
    _create_dataset_pins()


def _create_datasets() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("last_number", sa.Integer, nullable=False, server_default="0"),
        sa.Column("contract", JSONB),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("updated_at", _TIME, nullable=False, server_default=sa.func.now()),
    )


def _create_dataset_versions() -> None:
    op.create_table(
        "dataset_versions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("dataset_id", sa.Text, sa.ForeignKey("datasets.id"), nullable=False),
        sa.Column("dataset_name", sa.Text, nullable=False),
        sa.Column("number", sa.Integer),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("options", JSONB, nullable=False),
        sa.Column("new_contract", sa.Boolean, nullable=False),
        sa.Column("source", JSONB),
        sa.Column("table_schema", JSONB),
        sa.Column("profile", JSONB),
        sa.Column("parts", JSONB, nullable=False),
        sa.Column("row_count", sa.BigInteger),
        sa.Column("warnings", JSONB, nullable=False),
        sa.Column("job_id", sa.Text),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("ready_at", _TIME),
        sa.UniqueConstraint("dataset_id", "number"),
        sa.UniqueConstraint("dataset_id", "fingerprint"),
    )
    op.create_index("ix_dataset_versions_sha256", "dataset_versions", ["sha256"])


def _create_dataset_pins() -> None:
    op.create_table(
        "dataset_pins",
        sa.Column("dataset_version_id", sa.Text, sa.ForeignKey("dataset_versions.id"), primary_key=True),
        sa.Column("dependent", sa.Text, primary_key=True),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
    )


def downgrade() -> None:
    for table in ("dataset_pins", "dataset_versions", "datasets"):
        op.drop_table(table)
