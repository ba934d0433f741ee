"""How the parts of a platform do."""

from datetime import datetime
from typing import Literal

from tidemill.schemas.base import Reply

CheckState = Literal["ok", "warning", "problem"]


class CheckResult(Reply):
    """One part of the platform."""

    part: str
    state: CheckState
    detail: str
    """What was found."""
    advice: str | None = None
    """What to do, unless all is well."""


class HealthChecks(Reply):
    """All checks of the api, and who asked."""

    checks: list[CheckResult]
    checked_at: datetime
    """By the api's clock."""
    version: str
    environment: str
    principal: str
    scopes: list[str]
    """Of the key that asked."""
