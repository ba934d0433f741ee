"""Alembic's entry: runs the revisions on the connection that `tidemill.db.migrate` opened."""

from alembic import context

from tidemill.db.migrations import is_ours
from tidemill.db.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    include_name=is_ours,
)
context.run_migrations()
