"""When backups and drills were run."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "backup_runs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("finished_at", _TIME, nullable=False),
        sa.Column("succeeded", sa.Boolean, nullable=False),
        sa.Column("backup_id", sa.Text),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("detail", JSONB, nullable=False),
    )
    op.create_index("ix_backup_runs_kind_finished_at", "backup_runs", ["kind", "finished_at"])


def downgrade() -> None:
    op.drop_table("backup_runs")
