"""Tables of serving: deployments and their history, model servers, the ledger of predictions in day partitions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_deployments()
    _create_deployment_history()
    _create_model_servers()
    _create_predictions()


def _create_deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("model_name", sa.Text, nullable=False),
        sa.Column("alias", sa.Text),
        sa.Column("number", sa.Integer),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("updated_by", sa.Text, nullable=False),
        sa.CheckConstraint("(alias IS NULL) <> (number IS NULL)", name="alias_or_number"),
    )


def _create_deployment_history() -> None:
    op.create_table(
        "deployment_history",
        sa.Column("seq", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("reference", sa.Text),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("request_id", sa.Text),
    )
    op.create_index("ix_deployment_history_deployment_seq", "deployment_history", ["deployment", "seq"])
    op.execute(
        "CREATE TRIGGER deployment_history_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON deployment_history "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting()"
    )


def _create_model_servers() -> None:
    op.create_table(
        "model_servers",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.Column("report", JSONB, nullable=False),
    )


def _create_predictions() -> None:
    op.create_table(
        "predictions",
        sa.Column("prediction_id", sa.Text, primary_key=True),
        sa.Column("predicted_at", _TIME, primary_key=True),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("model_name", sa.Text, nullable=False),
        sa.Column("model_version", sa.Integer, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("principal", sa.Text),
        sa.Column("inputs", sa.JSON, nullable=False),
        sa.Column("output", sa.JSON, nullable=False),
        postgresql_partition_by="RANGE (predicted_at)",
    )
    op.create_index(
        "ix_predictions_deployment_predicted_at", "predictions", ["deployment", "predicted_at", "prediction_id"]
    )


def downgrade() -> None:
    for table in ("predictions", "model_servers", "deployment_history", "deployments"):
        op.drop_table(table)
