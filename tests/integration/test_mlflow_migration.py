"""MLflow's database is migrated by a job of its own."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg

from tidemill.db.engine import conninfo
from tidemill.settings.model import DatabaseSettings


def test_migrating_needs_the_database_alone_and_writes_no_file(database: DatabaseSettings, tmp_path: Path) -> None:
    url = conninfo(database)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS mlflow_test")
    named = database.url.get_secret_value() + "&options=-csearch_path%3Dmlflow_test"
    command = [sys.executable, "-m", "tidemill.platform.mlflow_server", "--migrate"]
    environment = {**os.environ, "TIDEMILL_MLFLOW__DATABASE_URL": named}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT to_regclass('mlflow_test.experiments')").fetchone()
    assert found is not None
    assert found[0] is not None
