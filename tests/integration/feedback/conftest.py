"""A ledger with predictions of a binary classifier, a regression and a classifier of integers."""

from dataclasses import dataclass

import httpx
import pytest

from tests.integration.ledger_rows import Predicted, add_predictions, add_version
from tidemill.db.engine import SessionFactory, transaction


@dataclass(frozen=True)
class Ledger:
    binary: list[str]
    regression: list[str]
    integers: list[str]


@pytest.fixture
async def ledger(sessions: SessionFactory) -> Ledger:
    async with transaction(sessions) as session:
        await add_version(session)
        await add_version(session, model_name="bikes", task="regression", classes=None, metric="rmse")
        await add_version(session, model_name="digits", task="multiclass", classes=[0, 1, 2], metric="log_loss")
    binary = [Predicted({"prediction": ">50K", "probabilities": {"<=50K": 0.25, ">50K": 0.75}})] * 4
    regression = [Predicted({"prediction": 12.5}, deployment="bikes", model_name="bikes")] * 2
    integers = [Predicted({"prediction": 2}, deployment="digits", model_name="digits")] * 2
    made = await add_predictions(sessions, binary + regression + integers)
    return Ledger(made[:4], made[4:6], made[6:])


@pytest.fixture
async def push(api: httpx.AsyncClient):  # type: ignore[no-untyped-def]
    """``await push((id, truth), ...)`` gives the answer to that feedback."""

    async def send(*items: tuple[object, ...]) -> httpx.Response:
        names = ("prediction_id", "truth", "observed_at")
        return await api.post(
            "/api/v1/feedback", json={"items": [dict(zip(names, item, strict=False)) for item in items]}
        )

    return send
