"""What a console asks of whoever opens it."""

from enum import StrEnum

from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope, grants


class Area(StrEnum):
    """What lies behind the sign-in."""

    MLFLOW = "mlflow"
    DASHBOARDS = "dashboards"


class Access(StrEnum):
    READ = "read"
    WRITE = "write"


def require_area(principal: Principal, area: Area, access: Access) -> None:
    """Raise Forbidden unless ``principal`` may. In Grafana the role decides about writing, see `grafana_role`."""
    if area is Area.DASHBOARDS:
        principal.require(Scope.DASHBOARDS_READ)
    else:
        principal.require(Scope.MLFLOW_WRITE if access is Access.WRITE else Scope.MLFLOW_READ)


def grafana_role(principal: Principal) -> str:
    """Grafana's own word for what ``principal`` may do there."""
    if Scope.ADMIN in principal.scopes:
        return "Admin"
    return "Editor" if grants(principal.scopes, Scope.DASHBOARDS_WRITE) else "Viewer"
