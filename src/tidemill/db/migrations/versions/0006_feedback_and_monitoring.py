"""Tables of feedback and monitoring."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_feedback()
    _create_monitoring_reports()


def _create_feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("seq", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("prediction_id", sa.Text, nullable=False),
        sa.Column("truth", JSONB, nullable=False),
        sa.Column("observed_at", _TIME, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("received_at", _TIME, nullable=False, server_default=sa.func.now()),
    )
    op.create_index("ix_feedback_prediction_id", "feedback", ["prediction_id", "observed_at", "seq"])
    op.execute(
        "CREATE FUNCTION refuse_feedback_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'feedback is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER feedback_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON feedback "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_feedback_change()"
    )


def _create_monitoring_reports() -> None:
    op.create_table(
        "monitoring_reports",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("until", _TIME, nullable=False),
        sa.Column("model_version", sa.Integer),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("content", JSONB, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
    )
    op.create_index("ix_monitoring_reports_deployment_id", "monitoring_reports", ["deployment", "id"])


def downgrade() -> None:
    op.drop_table("monitoring_reports")
    op.drop_table("feedback")
    op.execute("DROP FUNCTION refuse_feedback_change()")
