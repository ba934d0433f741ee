"""Every router of the api, in the order of the OpenAPI document."""

from fastapi import APIRouter

from tidemill.features.datasets import endpoints as datasets
from tidemill.features.deployments import endpoints as deployments
from tidemill.features.experiments import endpoints as experiments
from tidemill.features.feedback import endpoints as feedback
from tidemill.features.health import endpoints as health
from tidemill.features.jobs import endpoints as jobs
from tidemill.features.keys import endpoints as keys
from tidemill.features.monitoring import endpoints as monitoring
from tidemill.features.predictions import endpoints as predictions
from tidemill.features.registry import endpoints as registry
from tidemill.features.serving import endpoints as serving
from tidemill.features.sessions import endpoints as sessions

ROUTERS: tuple[APIRouter, ...] = (
    datasets.router,
    experiments.router,
    experiments.experiments_router,
    registry.router,
    deployments.router,
    predictions.router,
    feedback.router,
    monitoring.router,
    jobs.router,
    keys.router,
    sessions.router,
    sessions.pages_router,
    health.router,
    serving.router,
    predictions.ledger_router,
)
