"""The object store has an identity, which this database remembers."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "store_identities",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("marked_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("number = 1", name="ck_store_identities_single"),
    )
