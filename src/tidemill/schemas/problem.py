"""Errors on the wire (RFC 9457, application/problem+json)."""

from pydantic import Field

from tidemill.schemas.base import Reply


class ProblemPlace(Reply):
    pointer: str
    """JSON pointer into the request, or a place in a file such as ``row 17, column age``."""
    code: str
    detail: str


class ProblemDetails(Reply):
    type: str
    """A stable address of the kind of error."""
    title: str
    status: int
    """The HTTP status."""
    detail: str
    """One sentence for people."""
    instance: str
    """The path that was called."""
    code: str
    """Stable and machine-readable."""
    request_id: str | None = None
    errors: list[ProblemPlace] = Field(default_factory=list)
    """Each single place that is wrong; at most 100."""
