"""Pins that count as long as a job has not ended."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("dataset_pins", sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id", ondelete="CASCADE")))
    op.create_index("ix_dataset_pins_job_id", "dataset_pins", ["job_id"])


def downgrade() -> None:
    op.drop_column("dataset_pins", "job_id")
