"""Servers behind the edge that remember what reached them and behave as a test wants."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import httptools

DIE = "die"
"""Read the request, then close the connection without a word."""


@dataclass
class Seen:
    """A request as it arrived. ``first_piece`` is set as soon as a byte of its body has."""

    method: str = ""
    target: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    first_piece: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Answer:
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b"{}"
    rest: threading.Event | None = None
    """When given, ``body`` is a first chunk, and ``b"end"`` follows after the event."""


Behaviour = Callable[[Seen], Answer | str]


class Upstream:
    """HTTP/1.1 on ``address``, in a thread of its own."""

    def __init__(self, address: str, port: int, name: str) -> None:
        self.address, self.port, self.name = address, port, name
        self.seen: list[Seen] = []
        self.sent_twice: set[str] = set()
        self.behaviour: Behaviour = lambda _seen: Answer()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.open()

    def open(self) -> None:
        async def begin() -> asyncio.Server:
            return await self._loop.create_server(lambda: _Connection(self), self.address, self.port)

        self._server = asyncio.run_coroutine_threadsafe(begin(), self._loop).result(10)

    def refuse(self) -> None:
        """Close the listener and every connection, as a process that ended."""

        def end() -> None:
            if self._server is not None:
                self._server.close()
            for connection in list(self._connections):
                connection.close()

        self._loop.call_soon_threadsafe(end)
        self._call(lambda: None)

    def close(self) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def forget(self) -> None:
        self.seen = []
        self.behaviour = lambda _seen: Answer()

    def _call(self, work: Callable[[], None]) -> None:
        async def run() -> None:
            work()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)


class _Connection(asyncio.Protocol):
    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._request = Seen()
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._upstream._connections.add(transport)

    def connection_lost(self, _error: Exception | None) -> None:
        self._upstream._connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            )

    def on_message_begin(self) -> None:
        self._request = Seen()

    def on_url(self, url: bytes) -> None:
        self._request.target += url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        if (field_name := name.decode().lower()) in self._request.headers:
            self._upstream.sent_twice.add(field_name)
        self._request.headers[field_name] = value.decode()

    def on_headers_complete(self) -> None:
        self._request.method = self._parser.get_method().decode()
        self._upstream.seen.append(self._request)

    def on_body(self, body: bytes) -> None:
        self._request.body += body
        self._request.first_piece.set()

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade():
            return
        answer = self._upstream.behaviour(self._request)
        if isinstance(answer, str):
            self._transport.abort()
        else:
            self._write(answer)

    def _write(self, answer: Answer) -> None:
        lines = [f"HTTP/1.1 {answer.status} X", *(f"{name}: {value}" for name, value in answer.headers)]
        lines += [f"X-Upstream: {self._upstream.name}"]
        if answer.rest is None:
            if answer.status != 204:
                lines.append(f"Content-Length: {len(answer.body)}")
            self._transport.write("\r\n".join([*lines, "", ""]).encode() + answer.body * (answer.status != 204))
            return
        lines.append("Transfer-Encoding: chunked")
        self._transport.write(
            "\r\n".join([*lines, "", ""]).encode() + b"%x\r\n%s\r\n" % (len(answer.body), answer.body)
        )
        threading.Thread(target=self._finish, args=(answer.rest,), daemon=True).start()

    def _finish(self, rest: threading.Event) -> None:
        rest.wait(30)
        self._upstream._loop.call_soon_threadsafe(self._transport.write, b"3\r\nend\r\n0\r\n\r\n")
