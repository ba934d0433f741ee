"""What the api's main built, for dependencies to hand out."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.adapters.object_store import ObjectStore
from tidemill.auth.lanes import CallerLanes
from tidemill.db.engine import SessionFactory
from tidemill.settings.model import Settings


@dataclass(frozen=True)
class ApiServices:
    settings: Settings
    sessions: SessionFactory
    store: ObjectStore
    mlflow: MlflowRest
    registry: CollectorRegistry
    lanes: CallerLanes = field(default_factory=CallerLanes)


def get_services(request: Request) -> ApiServices:
    services = request.app.state.services
    assert isinstance(services, ApiServices)
    return services


ServicesDep = Annotated[ApiServices, Depends(get_services)]


async def get_session(services: ServicesDep) -> AsyncIterator[AsyncSession]:
    async with services.sessions() as session, session.begin():
        yield session


def get_settings(services: ServicesDep) -> Settings:
    return services.settings


def get_store(services: ServicesDep) -> ObjectStore:
    return services.store


def get_mlflow(services: ServicesDep) -> MlflowRest:
    return services.mlflow


def get_sessions(services: ServicesDep) -> SessionFactory:
    return services.sessions


SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]
"""One transaction per request, committed before the answer is sent."""


def get_lanes(services: ServicesDep) -> CallerLanes:
    return services.lanes


LanesDep = Annotated[CallerLanes, Depends(get_lanes)]
SettingsDep = Annotated[Settings, Depends(get_settings)]
StoreDep = Annotated[ObjectStore, Depends(get_store)]
MlflowDep = Annotated[MlflowRest, Depends(get_mlflow)]
SessionsDep = Annotated[SessionFactory, Depends(get_sessions)]
"""For work that is longer than a transaction may be, such as uploads."""
