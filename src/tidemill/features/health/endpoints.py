"""Checks of the whole platform, for operators."""

from typing import Annotated

from fastapi import APIRouter, Depends

from tidemill import __version__
from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.deps import MlflowDep, SessionsDep, SettingsDep, StoreDep, require
from tidemill.features.health import service
from tidemill.kit.clock import utc_now
from tidemill.schemas.health import HealthChecks

router = APIRouter(prefix="/api/v1/health", tags=["health"])


@router.get("/checks", operation_id="health_checks")
async def checks(
    settings: SettingsDep,
    sessions: SessionsDep,
    store: StoreDep,
    mlflow: MlflowDep,
    principal: Annotated[Principal, Depends(require(Scope.ADMIN))],
) -> HealthChecks:
    """Look at every part that the api can reach, each within five seconds. Writes and removes one small object."""
    found = await service.check_all(service.Parts(settings, sessions, store, mlflow))
    return HealthChecks(
        checks=found,
        checked_at=utc_now(),
        version=__version__,
        environment=settings.environment,
        principal=principal.name,
        scopes=sorted(principal.scopes),
    )
