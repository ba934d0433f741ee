"""Problem documents of our servers turned back into the errors that they describe, whatever carried them."""

import json

from tidemill.kit import errors
from tidemill.kit.errors import Problem, TidemillError

_KINDS: dict[int, type[TidemillError]] = {
    400: errors.Malformed,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    412: errors.PreconditionFailed,
    413: errors.TooLarge,
    415: errors.Unsupported,
    429: errors.Unavailable,
    504: errors.DeadlineExceeded,
}


def error_of_answer(status: int, content: bytes, request_id: str | None = None) -> TidemillError | None:
    """What an HTTP answer says went wrong; None for a success."""
    if status < 400:
        return None
    try:
        body = json.loads(content)
    except ValueError:
        body = {}
    code, detail = str(body.get("code", "http_error")), str(body.get("detail", f"HTTP {status}"))
    kind = errors.Refused if body.get("title") == errors.Refused.title else _KINDS.get(status)
    if kind is None:
        kind = errors.Invalid if status < 500 else errors.Unavailable
    problems = [Problem(p["pointer"], p["code"], p["detail"]) for p in body.get("errors", [])]
    error = kind(code, detail, problems)
    if request_id and status >= 500:
        error.add_note(f"request id {request_id}")
    return error
