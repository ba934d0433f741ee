"""Predicting, and reading predictions back."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from tidemill.client.pages import iterate
from tidemill.client.transport import Transport, segment
from tidemill.schemas.predictions import Prediction, PredictReply


class Predictions:
    """``tidemill.predictions``: reading back what was predicted; `Tidemill.predict` predicts."""

    def __init__(self, transport: Transport, model_server: Transport) -> None:
        self._transport = transport
        self._model_server = model_server

    def predict(
        self, deployment: str, rows: Sequence[Mapping[str, Any]], params: Mapping[str, Any] | None = None
    ) -> PredictReply:
        """Predict rows with the version that ``deployment`` serves now; each row is recorded before this returns.

        Args:
            deployment: its name.
            rows: column to value, as the model's signature types them; texts are never turned into numbers.
            params: for models that take parameters.

        Raises Invalid naming every cell that does not fit the signature.
        """
        body: dict[str, Any] = {"inputs": [dict(row) for row in rows]}
        if params is not None:
            body["params"] = dict(params)
        answer = self._model_server.request("POST", f"/api/v1/deployments/{segment(deployment)}/predict", json=body)
        return PredictReply.model_validate(answer)

    def get(self, prediction_id: str) -> Prediction:
        """One row of the ledger. NotFound also in the second or so until it arrives there."""
        path = f"/api/v1/predictions/{segment(prediction_id)}"
        return Prediction.model_validate(self._transport.request("GET", path))

    def list(
        self,
        deployment: str,
        since: datetime | None = None,
        until: datetime | None = None,
        model_version: int | None = None,
    ) -> Iterator[Prediction]:
        """Predictions with ``since`` <= time < ``until`` (by default the last day), newest first, page by page."""
        params = {
            "deployment": deployment,
            "from": since.isoformat() if since else None,
            "to": until.isoformat() if until else None,
            "model_version": model_version,
        }
        return iterate(self._transport, "/api/v1/predictions", Prediction, params)
