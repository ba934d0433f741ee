"""What a connection may cost: size and time of its headers, pace of its body, and how many there are at once.

uvicorn and its parser bound none of these. A proxy in front does, but must not be needed.
"""

import asyncio
import ipaddress
import json
import logging
from dataclasses import dataclass
from typing import Any, cast

from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from tidemill.web.problems import RETRY_AFTER_SECONDS

log = logging.getLogger(__name__)

_CONNECTION = "tidemill.connection"
_SINGLE = (
    b"authorization",
    b"content-length",
    b"content-type",
    b"cookie",
    b"host",
    b"idempotency-key",
    b"if-match",
    b"last-event-id",
    b"origin",
    b"sec-fetch-site",
    b"traceparent",
    b"transfer-encoding",
    b"x-deployment",
    b"x-original-method",
    b"x-original-uri",
    b"x-request-id",
    b"x-tidemill-access",
)
"""Whoever reads one takes the first of two, or the last; who stands in front may take the other."""


@dataclass(frozen=True)
class ConnectionLimits:
    """Of one process. Bodies have limits of their own (`tidemill.web.body_limit`)."""

    most: int = 1000
    """Open connections."""
    header_bytes: int = 64 * 2**10
    """Request line and headers together."""
    header_count: int = 200
    requests_ahead: int = 16
    """That have come while an earlier one of their connection is answered."""
    header_seconds: float = 10.0
    """For the whole of the headers to arrive, from the connection's or the request's first byte."""
    body_seconds: float = 30.0
    """In each such span, while the process reads, `body_bytes` of the body must arrive, or its end; from a caller who
    has shown no key, its end."""
    body_bytes: int = 1024
    answer_seconds: float = 120.0
    """A client that takes nothing of an answer for so long is gone."""
    drain_seconds: float = 5.0
    """How long the rest of a body is thrown away whose request was answered without it."""
    look_seconds: float = 0.5
    """How often each connection is looked at."""


class Connections:
    """The open connections of one process, and which of them make room for the next: each that waits without a request,
    and each whose caller has shown no key and holds up what was asked, by a body that comes or an answer that is taken.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: set[BoundedProtocol] = set()
        self._yielding: dict[str, dict[BoundedProtocol, None]] = {}
        """By host, in the order in which they began to."""

    def opened(self, connection: "BoundedProtocol") -> bool:
        """False if there is no room, and none can be made.

        Of the host with the most connections that may be ended, the first makes room: however many one host opens, and
        however quickly, the others keep theirs.
        """
        if len(self._open) >= self.limits.most:
            if not self._yielding:
                return False
            most = max(self._yielding.values(), key=len)
            next(iter(most)).end("too many connections")
        self._open.add(connection)
        self.yields(connection)
        return True

    def yields(self, connection: "BoundedProtocol") -> None:
        """It makes room from now on, after those of its host that do already."""
        if connection in self._open:
            self.works(connection)
            self._yielding.setdefault(connection.host, {})[connection] = None

    def works(self, connection: "BoundedProtocol") -> None:
        """It keeps its place."""
        others = self._yielding.get(connection.host, {})
        if others.pop(connection, connection) is None and not others:
            del self._yielding[connection.host]

    def closed(self, connection: "BoundedProtocol") -> None:
        self.works(connection)
        self._open.discard(connection)


def caller_is_known(scope: Scope) -> None:
    """To be told as soon as a request's key was found genuine: it keeps its connection, and its body the time it needs.

    Does nothing for a request that came by another server than ours, as in tests of an application alone.
    """
    connection = scope.get(_CONNECTION)
    if isinstance(connection, BoundedProtocol):
        connection.caller_is_known()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol within `ConnectionLimits`."""

    def __init__(self, *arguments: Any, own: Connections, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._own = own
        self._limits = own.limits
        self.host = ""
        """What its connections are counted by."""
        self._is_known = False
        """Whether the present request has shown a key; until then its time is the stranger's."""
        self._in_head = True
        self._in_body = False
        self._head_bytes = 0
        self._lingering = False
        self._is_deaf = False
        """Nothing more is read as a request: what came before is answered, and the last answer says that it is."""
        self._pending_bytes = 0
        """Fed since headers, a piece of a body or a message was last complete: headers, trailers, chunk extensions."""
        self._events = 0
        self._head_since: float | None = None
        self._drain_since: float | None = None
        self._body_since = self._taken_since = 0.0
        self._body_count = self._unsent = 0
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.host = host_of(transport.get_extra_info("peername"))
        if not self._own.opened(self):
            self.transport = transport
            self._refuse(503, "connections_exhausted", "Too many connections are open.")
            return
        super().connection_made(transport)
        self._head_since = self.loop.time()
        self._look = self.loop.call_later(self._limits.look_seconds, self._look_at_clock)

    def connection_lost(self, exc: Exception | None) -> None:
        self._own.closed(self)
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._lingering or self._is_deaf or self.transport.is_closing():
            return
        before = self._events
        if self._in_head and self._head_since is None:
            self._head_since = self.loop.time()
        super().data_received(data)
        self._pending_bytes = 0 if self._events != before else self._pending_bytes + len(data)
        if self._pending_bytes > self._limits.header_bytes:
            self._refuse(431, "headers_too_large", "The headers are larger than the limit.")

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= self._limits.requests_ahead:
            raise _TooManyAheadError  # ends the parser's work on whatever came with them
        super().on_message_begin()
        cast("Scope", self.scope)[_CONNECTION] = self
        self._head_bytes = 0
        if self._head_since is None:
            self._head_since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._events += 1
        self._in_head, self._in_body = False, True
        self._head_since = None
        self._body_since, self._body_count = self.loop.time(), 0
        self._is_known = False
        self._own.yields(self)
        ours = self.app
        if self._head_bytes > self._limits.header_bytes or len(self.headers) > self._limits.header_count:
            self.app = _refusing(431, "headers_too_large", "The headers are larger than the limit.")
        elif (name := _repeated(self.headers)) is not None:
            self.app = _refusing(400, "header_repeated", f"The header {name} stands more than once.")
        try:
            super().on_headers_complete()
        except Exception:
            self._in_head, self._in_body = True, False  # there is no such request
            raise
        finally:
            self.app = ours
        if self._request is not None:
            self._request.transport = cast("asyncio.Transport", _GentlyClosed(self))

    def on_body(self, body: bytes) -> None:
        self._events += 1
        self._body_count += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._events += 1
        self._in_head, self._in_body = True, False
        self._drain_since = None
        super().on_message_complete()
        self._own.works(self)
        if self.cycle.response_complete:
            self._own.yields(self)
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        if self._lingering:
            self.flow.resume_reading()
            return
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()  # each answer would let as much in as a socket brings at once
        if not self.cycle.response_complete:
            return  # the next request is on its way already
        if self._in_body and not self.transport.is_closing():
            self._drain_since = self.loop.time()
        self._own.yields(self)

    def caller_is_known(self) -> None:
        """Of the present request."""
        self._is_known = True
        self._body_since, self._body_count = self.loop.time(), 0
        if self._is_answering:
            self._own.works(self)

    def send_400_response(self, msg: str) -> None:
        """The parser takes no more of this connection, which is told as a problem, like every other refusal."""
        code, detail = "request_malformed", "This is no request of HTTP/1.1."
        if not (self._in_body and self._is_answering):
            self._refuse(400, code, detail)
        elif self.pipeline or self.cycle.response_started:
            self.pipeline.clear()
            self.end(code)
        else:
            # The application waits for the rest of a body: it learns that there is none.
            self.transport.write(_answer(400, code, detail))
            self.transport.close()

    def end(self, why: str) -> None:
        """Close at once."""
        log.info("A connection was ended: %s", why)
        self._own.closed(self)
        self.transport.abort()

    @property
    def _request(self) -> RequestResponseCycle | None:
        """The present request, or the last one; uvicorn's annotation leaves out that there may be none yet."""
        return cast("RequestResponseCycle | None", self.cycle)

    @property
    def _is_answering(self) -> bool:
        return self._request is not None and not self._request.response_complete and not self.is_ending

    @property
    def is_ending(self) -> bool:
        return self._lingering or self.transport.is_closing()

    def close_gently(self) -> None:
        """Close, but let a client that still sends read the answer first: to close on unread bytes would reset it."""
        if self._lingering or self.transport.is_closing():
            return
        if not (self._in_body or self._is_deaf or self._head_since is not None) or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._lingering = True
        self._head_since, self._drain_since = None, self.loop.time()
        self._unset_keepalive_if_required()
        self._own.yields(self)
        self.transport.write_eof()

    def _look_at_clock(self) -> None:
        if self.transport.is_closing():
            # What was answered last may still wait to be taken.
            self._end_if_not_taken()
        else:
            self._judge(self.loop.time())
        self._look = self.loop.call_later(self._limits.look_seconds, self._look_at_clock)

    def _judge(self, now: float) -> None:
        limits = self._limits
        if self._head_since is not None and self.flow.read_paused:
            self._head_since = now
        if self._head_since is not None and now - self._head_since > limits.header_seconds:
            self._refuse(408, "headers_too_slow", "The headers did not arrive in time.")
        elif self._drain_since is not None and now - self._drain_since > limits.drain_seconds:
            self.end("the rest of a refused body went on")
        elif self._in_body and self._drain_since is None:
            self._judge_body(now)
        self._end_if_not_taken()

    def _judge_body(self, now: float) -> None:
        """Time in which nobody reads does not count: it is not the client's."""
        if self.flow.read_paused:
            self._body_since, self._body_count = now, 0
        elif now - self._body_since > self._limits.body_seconds:
            if not self._is_known or self._body_count < self._limits.body_bytes:
                self.end("a body came too slowly")
            self._body_since, self._body_count = now, 0

    def _end_if_not_taken(self) -> None:
        now, unsent = self.loop.time(), self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent:
            self._unsent, self._taken_since = unsent, now
        elif now - self._taken_since > self._limits.answer_seconds:
            self.end("an answer was not taken")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answer outside of any request, unless an answer is under way, and close.

        What came whole before is answered first, and nothing can be said behind the last answer but that it is that.
        """
        if self.transport.is_closing():
            return
        if self._request is None or self._request.response_complete:
            self.transport.write(_answer(status, code, detail))
            self.close_gently()
        elif self._in_body:
            self.end(code)
        else:
            self._is_deaf, self._head_since = True, None
            self._request.keep_alive = False


class _TooManyAheadError(Exception):
    """More requests than may come before the first of them is answered."""


def host_of(peer: object) -> str:
    """Whose a connection is, by its peer's address: in IPv6 one host has all of a /64; "" of a Unix socket."""
    if not isinstance(peer, tuple):
        return ""
    address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class _GentlyClosed:
    """The transport as a request sees it."""

    def __init__(self, connection: BoundedProtocol) -> None:
        self._connection = connection

    def write(self, data: bytes) -> None:
        self._connection.transport.write(data)

    def is_closing(self) -> bool:
        return self._connection.is_ending

    def close(self) -> None:
        self._connection.close_gently()


def _repeated(headers: list[tuple[bytes, bytes]]) -> str | None:
    """The name of a header that may stand once and does not."""
    names = [name for name, _ in headers if name in _SINGLE]
    return next((name.decode() for name in _SINGLE if names.count(name) > 1), None) if len(names) > 1 else None


def _refusing(status: int, code: str, detail: str) -> ASGI3Application:
    async def refuse(_scope: Any, _receive: Any, send: Any) -> None:
        body = _problem(status, code, detail)
        await send({"type": "http.response.start", "status": status, "headers": _headers_of(body)})
        await send({"type": "http.response.body", "body": body})

    return refuse


def _answer(status: int, code: str, detail: str) -> bytes:
    body = _problem(status, code, detail)
    later = [(b"retry-after", RETRY_AFTER_SECONDS.encode())] if status == 503 else []
    lines = [b"%b: %b\r\n" % line for line in [*_headers_of(body), *later]]
    return b"".join([STATUS_LINE[status], *lines, b"\r\n", body])


def _headers_of(body: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]


def _problem(status: int, code: str, detail: str) -> bytes:
    problem = {"type": f"urn:tidemill:problem:{code}", "title": "Refused", "status": status, "detail": detail,
               "instance": "", "code": code}  # fmt: skip
    return json.dumps(problem).encode()
