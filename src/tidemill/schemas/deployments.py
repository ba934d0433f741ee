"""Deployments on the wire: names under which model versions are served."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from tidemill.kit.names import REFERENCE_PATTERN, Name
from tidemill.schemas.base import Reply, RequestBody

ServerState = Literal["loading", "ready", "failed"]
DeploymentState = Literal["pending", "loading", "ready", "failed", "unresolved"]


class DeploymentApply(RequestBody):
    model: Annotated[
        str,
        Field(min_length=1, max_length=200),
        WithJsonSchema({"type": "string", "maxLength": 200, "pattern": REFERENCE_PATTERN}),
    ]
    """What to serve: ``name@alias`` follows the alias, ``name:3`` stays, ``name`` means ``name@champion``."""


class ServedVersion(Reply):
    """The model version that a deployment means now."""

    model_name: str
    model_version: int
    flavor: str
    task: str | None
    target: str | None
    classes: list[Any] | None
    signature: dict[str, Any]


class Deployment(Reply):
    id: str
    name: Name
    reference: str
    """As it was applied, such as ``adult-income@champion``."""
    version: ServedVersion | None
    """Absent while the reference means nothing, such as an alias that was removed; servers keep what they have."""
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


class ServerStatus(Reply):
    """What one model server says about the deployment."""

    server_id: str
    state: ServerState
    model_name: str | None
    """What it serves now; absent before the first model is loaded."""
    model_version: int | None
    error_code: str | None
    """Why the wanted version could not be loaded."""
    error_detail: str | None
    seen_at: datetime


class DeploymentStatus(Reply):
    """Where a deployment stands on the model servers that were heard of lately."""

    name: str
    state: DeploymentState
    """``ready`` when every server serves the wanted version, ``failed`` when one cannot load it."""
    model_name: str | None
    model_version: int | None
    """The wanted version."""
    servers: list[ServerStatus]


class DeploymentEvent(Reply):
    """One change of a deployment; the moves of its alias are in the model's history."""

    id: str
    deployment: str
    kind: Literal["created", "changed", "deleted"]
    reference: str | None
    who: str
    """Id of the key that changed it."""
    who_name: str | None = None
    """Name of that key; absent when it was not a key."""
    at: datetime
    request_id: str | None
