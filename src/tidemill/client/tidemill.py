"""The SDK's entry."""

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from tidemill.client.datasets import Datasets
from tidemill.client.deployments import Deployments
from tidemill.client.experiments import Experiments
from tidemill.client.feedback import Feedback
from tidemill.client.health import Health
from tidemill.client.jobs import Jobs, OnEvent
from tidemill.client.keys import Keys
from tidemill.client.models import Models
from tidemill.client.monitoring import Monitoring
from tidemill.client.predictions import Predictions
from tidemill.client.transport import Transport
from tidemill.schemas.experiments import TrainingRunDetail
from tidemill.schemas.predictions import PredictReply

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_MODEL_SERVER_URL = "http://127.0.0.1:8001"


class Tidemill:
    """A client of one Tidemill platform.

    Args:
        url: address of the api; by default ``TIDEMILL_URL``, else ``http://127.0.0.1:8000``.
        key: API key; by default ``TIDEMILL_API_KEY``.
        model_server_url: address of the model server; by default ``TIDEMILL_MODEL_SERVER_URL``, else port 8001.
        timeout_seconds: longest wait for one answer.

    Calls raise the errors of `tidemill.kit.errors`: NotFound, Conflict, Forbidden, Invalid, Unavailable.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        model_server_url: str | None = None,
        timeout_seconds: float = 60,
    ) -> None:
        key = key or os.environ.get("TIDEMILL_API_KEY")
        self._api = Transport(url or os.environ.get("TIDEMILL_URL", DEFAULT_URL), key, timeout_seconds)
        server = model_server_url or os.environ.get("TIDEMILL_MODEL_SERVER_URL", DEFAULT_MODEL_SERVER_URL)
        self._model_server = Transport(server, key, timeout_seconds)
        self.jobs = Jobs(self._api)
        self.datasets = Datasets(self._api, self.jobs)
        self.experiments = Experiments(self._api, self.jobs)
        self.keys = Keys(self._api)
        self.deployments = Deployments(self._api)
        self.predictions = Predictions(self._api, self._model_server)
        self.models = Models(self._api, self.jobs)
        self.health = Health(self._api, self._model_server)
        self.feedback = Feedback(self._api)
        self.monitoring = Monitoring(self._api, self.jobs)

    def predict(self, deployment: str, rows: Sequence[Mapping[str, Any]]) -> PredictReply:
        """Predict rows (column to value) with the version that ``deployment`` serves now. See `Predictions.predict`."""
        return self.predictions.predict(deployment, rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def train(self, dataset: str, target: str, *, on_event: OnEvent | None = None, **options: Any) -> TrainingRunDetail:
        """Train on a dataset and wait for the run with its report; ``options`` are those of `Experiments.start`.

        Raises what `Experiments.start` does, and the job's own error if the training failed.
        """
        return self.experiments.wait(self.experiments.start(dataset, target, **options), on_event=on_event)

    def close(self) -> None:
        """Close the connections."""
        self._api.close()
        self._model_server.close()
