"""Predictions on the wire: asking for them, and reading them back from the ledger."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from tidemill.kit.names import Name
from tidemill.schemas.base import Moment, Reply, RequestBody
from tidemill.schemas.page import PageQuery


class PredictRequest(RequestBody):
    inputs: Annotated[list[dict[str, Any]], Field(min_length=1)]
    """Rows: column to value, as the model's signature names and types them."""
    params: dict[str, Any] | None = None
    """For models that take parameters."""


class RowPrediction(Reply):
    prediction_id: str
    """Names this row for feedback."""
    prediction: Any
    """The label, number or, for other models, any value."""
    probabilities: dict[str, float] | None = None
    """For classifiers: label to probability."""


class PredictReply(Reply):
    deployment: str
    model_name: str
    model_version: int
    """The version that made these predictions."""
    predictions: list[RowPrediction]
    """In the order of the inputs."""


class InvocationsReply(Reply):
    """As MLflow's scoring server answers, with the ids of the rows beside it."""

    predictions: list[Any]
    prediction_ids: list[str]
    warnings: list[str] | None = None
    """What was guessed about a CSV and may be wrong, such as its encoding; absent if nothing was."""


class Prediction(Reply):
    """One row of the ledger."""

    prediction_id: str
    predicted_at: datetime
    deployment: str
    model_name: str
    model_version: int
    request_id: str | None
    principal: str | None
    """Id of the key that asked."""
    inputs: dict[str, Any]
    """The columns of the model's signature; NaN is written as null."""
    output: Any


class PredictionListQuery(PageQuery):
    deployment: Name
    from_: Annotated[Moment | None, Field(alias="from")] = None
    """First moment; by default a day before ``to``."""
    to: Moment | None = None
    """Moment after the last; by default now."""
    model_version: Annotated[int | None, Field(ge=1, le=999_999_999)] = None
