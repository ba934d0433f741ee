"""Bodies that are packed in a way that nobody here unpacks get 415, instead of being read as if they were not."""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tidemill.kit.errors import Unsupported
from tidemill.web.problems import problem_response

_PACKED = frozenset({"gzip", "x-gzip", "zstd"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class ContentEncodingMiddleware:
    """``packed_paths``: patterns of the paths whose bodies may be packed, which is seen by the content there."""

    def __init__(self, app: ASGIApp, packed_paths: Sequence[str] = ()) -> None:
        self.app = app
        self._packed_paths = [re.compile(pattern) for pattern in packed_paths]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in _WITH_BODY and not self._is_readable(scope):
            error = Unsupported("content_encoding_unsupported", "Bodies are sent here as they are, not packed.")
            response = problem_response(error, Request(scope))
            response.headers["Accept-Encoding"] = "identity"
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _is_readable(self, scope: Scope) -> bool:
        named = ",".join(Headers(scope=scope).getlist("content-encoding")).lower().split(",")
        codings = [coding for name in named if (coding := name.strip()) not in ("", "identity")]
        if not codings:
            return True
        may_be_packed = any(pattern.fullmatch(scope["path"]) for pattern in self._packed_paths)
        return may_be_packed and len(codings) == 1 and codings[0] in _PACKED
