"""Tables of the registry: models, versions, aliases, gate decisions, and the alias history that nobody rewrites."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"

_TIME = sa.DateTime(timezone=True)
_APPEND_ONLY = ("alias_history", "gate_decisions")


def upgrade() -> None:
    _create_models()
    _create_model_versions()
    _create_model_aliases()
    _create_model_version_pins()
    _create_gate_decisions()
    _create_alias_history()
    _refuse_rewriting()


def _create_models() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("last_number", sa.Integer, nullable=False, server_default="0"),
        sa.Column("policy", JSONB, nullable=False),
        sa.Column("policy_revision", sa.Integer, nullable=False, server_default="1"),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("created_by", sa.Text, nullable=False),
    )


def _create_model_versions() -> None:
    op.create_table(
        "model_versions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("model_id", sa.Text, sa.ForeignKey("models.id"), nullable=False),
        sa.Column("model_name", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("mlflow_run_id", sa.Text),
        sa.Column("mlflow_model_uri", sa.Text),
        sa.Column("dataset_version_id", sa.Text),
        sa.Column("job_id", sa.Text),
        sa.Column("flavor", sa.Text, nullable=False),
        sa.Column("task", sa.Text),
        sa.Column("target", sa.Text),
        sa.Column("classes", JSONB),
        sa.Column("signature", JSONB, nullable=False),
        sa.Column("metric", sa.Text),
        sa.Column("metrics", JSONB, nullable=False),
        sa.Column("warnings", JSONB, nullable=False),
        sa.Column("bundle_sha256", sa.Text, nullable=False),
        sa.Column("bundle_size_bytes", sa.BigInteger, nullable=False),
        sa.Column("holdout_key", sa.Text),
        sa.Column("code_allowed_by", sa.Text),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("deleted_at", _TIME),
        sa.Column("deleted_by", sa.Text),
        sa.UniqueConstraint("model_id", "number"),
    )
    op.create_index("ix_model_versions_bundle_sha256", "model_versions", ["bundle_sha256"])
    op.create_index(
        "uq_model_versions_job_id",
        "model_versions",
        ["job_id"],
        unique=True,
        postgresql_where=sa.text("job_id IS NOT NULL"),
    )


def _create_model_aliases() -> None:
    op.create_table(
        "model_aliases",
        sa.Column("model_id", sa.Text, sa.ForeignKey("models.id"), primary_key=True),
        sa.Column("alias", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("moved_at", _TIME, nullable=False),
        sa.Column("moved_by", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["model_id", "number"], ["model_versions.model_id", "model_versions.number"]),
    )


def _create_model_version_pins() -> None:
    op.create_table(
        "model_version_pins",
        sa.Column("model_version_id", sa.Text, sa.ForeignKey("model_versions.id"), primary_key=True),
        sa.Column("dependent", sa.Text, primary_key=True),
    )


def _create_gate_decisions() -> None:
    op.create_table(
        "gate_decisions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("model_id", sa.Text, sa.ForeignKey("models.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("champion_number", sa.Integer),
        sa.Column("passed", sa.Boolean, nullable=False),
        sa.Column("metric", sa.Text),
        sa.Column("policy", JSONB, nullable=False),
        sa.Column("policy_revision", sa.Integer, nullable=False),
        sa.Column("checks", JSONB, nullable=False),
        sa.Column("comparisons", JSONB, nullable=False),
        sa.Column("reasons", JSONB, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False, unique=True),
        sa.Column("decided_at", _TIME, nullable=False),
        sa.Column("decided_for", sa.Text, nullable=False),
    )
    op.create_index(
        "ix_gate_decisions_model_id_number_decided_at", "gate_decisions", ["model_id", "number", "decided_at"]
    )


def _create_alias_history() -> None:
    op.create_table(
        "alias_history",
        sa.Column("seq", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("model_id", sa.Text, sa.ForeignKey("models.id"), nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("from_number", sa.Integer),
        sa.Column("to_number", sa.Integer),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("moved_at", _TIME, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("decision_id", sa.Text, sa.ForeignKey("gate_decisions.id")),
        sa.Column("request_id", sa.Text),
    )
    op.create_index("ix_alias_history_model_id_alias_seq", "alias_history", ["model_id", "alias", "seq"])


def _refuse_rewriting() -> None:
    op.execute(
        """
        CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END $$
        """
    )
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting()"
        )


def downgrade() -> None:
    tables = ("alias_history", "gate_decisions", "model_version_pins", "model_aliases", "model_versions", "models")
    for table in tables:
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_rewriting()")
