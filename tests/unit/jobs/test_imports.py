"""The worker stays small: what computes is imported by its children."""

import subprocess
import sys

HEAVY = ("sklearn", "pandas", "polars", "lightgbm", "optuna", "mlflow", "duckdb", "matplotlib", "skops", "numpy")


def test_the_worker_imports_no_library_that_computes() -> None:
    program = (
        "import sys, tidemill.worker.main, tidemill.worker.tasks\n"
        f"print(*[name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.split() == []


def test_a_child_starts_without_the_libraries_of_the_worker() -> None:
    program = (
        "import sys, tidemill.jobs.child\n"
        "print(*[name for name in ('sqlalchemy', 'fastapi', 'pydantic', 'psycopg') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.split() == []
