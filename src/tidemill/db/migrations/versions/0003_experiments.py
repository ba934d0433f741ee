"""Tables of experiments, and the schema in which Optuna keeps its own tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute("CREATE SCHEMA IF NOT EXISTS optuna")
    _create_experiments()
    _create_runs()
    _create_run_metrics()


def _create_experiments() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("created_by", sa.Text, nullable=False),
    )


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("experiment_id", sa.Text, sa.ForeignKey("experiments.id"), nullable=False),
        sa.Column("experiment_name", sa.Text, nullable=False),
        sa.Column("job_id", sa.Text, unique=True),
        sa.Column("dataset_name", sa.Text, nullable=False),
        sa.Column("dataset_version_id", sa.Text, nullable=False),
        sa.Column("dataset_version", sa.Integer, nullable=False),
        sa.Column("dataset_sha256", sa.Text, nullable=False),
        sa.Column("options", JSONB, nullable=False),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("finished_at", _TIME),
        sa.Column("task", sa.Text),
        sa.Column("metric", sa.Text),
        sa.Column("candidate", sa.Text),
        sa.Column("trials", sa.Integer),
        sa.Column("metrics", JSONB),
        sa.Column("model_version", sa.Integer),
        sa.Column("mlflow_run_id", sa.Text),
        sa.Column("report_key", sa.Text),
        sa.Column("figures", JSONB),
    )
    op.create_index("ix_runs_experiment_id_id", "runs", ["experiment_id", "id"])
    op.create_index("ix_runs_dataset_version_id", "runs", ["dataset_version_id"])


def _create_run_metrics() -> None:
    op.create_table(
        "run_metrics",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("experiment_id", sa.Text, sa.ForeignKey("experiments.id"), nullable=False),
        sa.Column("value", sa.Float, nullable=False),
    )
    op.create_index("ix_run_metrics_leaderboard", "run_metrics", ["experiment_id", "name", "value", "run_id"])


def downgrade() -> None:
    for table in ("run_metrics", "runs", "experiments"):
        op.drop_table(table)
    op.execute("DROP SCHEMA optuna CASCADE")
