"""Compiles what Tidemill's processes import, and what that imports in turn: ``python precompile.py SITE_PACKAGES``.

Bytecode of everything would be a sixth of the image; a module left out still works, it only loads a little slower.
The bytecode is trusted without looking at its source, which nothing changes in an image.
"""

import importlib
import importlib.util
import py_compile
import sys
from pathlib import Path

MODULES = (
    "alembic.command", "boto3.s3.inject", "boto3.s3.transfer", "botocore.handlers", "botocore.signers", "duckdb",
    "fastapi", "fastapi.openapi.utils", "fastapi_swagger", "httptools", "httpx", "lightgbm",
    "lightgbm.sklearn", "matplotlib.backends.backend_agg", "matplotlib.pyplot", "mlflow", "mlflow.pyfunc",
    "mlflow.pyfunc.model", "mlflow.server", "mlflow.server.fastapi_app", "mlflow.server.handlers", "mlflow.sklearn",
    "mlflow.store.artifact.mlflow_artifacts_repo", "mlflow.store.artifact.s3_artifact_repo",
    "mlflow.store.tracking.sqlalchemy_store", "mlflow.tracking", "obstore.store", "openpyxl", "optuna",
    "optuna.storages", "orjson", "pandas", "polars", "procrastinate", "prometheus_client", "psutil", "psycopg",
    "psycopg_pool", "pyarrow.compute", "pyarrow.csv", "pyarrow.dataset", "pyarrow.parquet", "python_multipart",
    "rich.console", "rich.live", "rich.progress", "rich.table", "scipy.stats", "skops.io", "sklearn.calibration",
    "sklearn.compose", "sklearn.dummy", "sklearn.ensemble", "sklearn.impute", "sklearn.inspection",
    "sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection", "sklearn.neighbors", "sklearn.pipeline",
    "sklearn.preprocessing", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.ext.asyncio", "starlette.testclient",
    "typer", "uvicorn", "uvicorn.lifespan.on", "uvicorn.loops.uvloop", "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.http.h11_impl", "uvloop", "zstandard",
)  # fmt: skip


def _import_present() -> list[str]:
    """Import each of the modules; those that want a package which is not in this environment are returned.

    Any other failure is raised: something was taken out that is needed.
    """
    absent = []
    for name in MODULES:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or importlib.util.find_spec(error.name.partition(".")[0]) is not None:
                raise
            absent.append(name)
    return absent


def main() -> None:
    packages = Path(sys.argv[1])
    absent = _import_present()
    sources = {Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    compiled = sorted(source for source in sources if source.suffix == ".py" and source.is_relative_to(packages))
    for source in compiled:
        py_compile.compile(str(source), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    sys.stdout.write(f"{len(compiled)} modules compiled; not in this environment: {', '.join(absent) or 'none'}\n")


if __name__ == "__main__":
    main()
