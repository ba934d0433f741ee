"""MLflow's tracking server in one process: `python -m tidemill.platform.mlflow_server`.

The ``mlflow server`` command keeps a second copy of MLflow in memory (280 MB) only to watch the first; here the
platform's supervisor does that.
"""

import argparse
import os

import uvicorn
from mlflow.server import constants
from mlflow.server.handlers import initialize_backend_stores

from tidemill.web.server import Server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend-store-uri", required=True)
    parser.add_argument("--artifacts-destination", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5000)
    options = parser.parse_args()
    root = "mlflow-artifacts:/"
    os.environ.update(
        {
            constants.BACKEND_STORE_URI_ENV_VAR: options.backend_store_uri,
            constants.ARTIFACT_ROOT_ENV_VAR: root,
            constants.ARTIFACTS_DESTINATION_ENV_VAR: options.artifacts_destination,
            constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        }
    )
    initialize_backend_stores(options.backend_store_uri, options.backend_store_uri, root)
    app = "mlflow.server.fastapi_app:app"
    Server(uvicorn.Config(app, host=options.host, port=options.port, log_level="warning")).run()


if __name__ == "__main__":
    main()
