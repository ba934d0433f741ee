"""Requests byte by byte, as no well-meant client would send them."""

import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_TIMEOUT_SECONDS = 20
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True)
class RawAnswer:
    status: int
    """0 if the connection was closed without an answer."""
    headers: dict[str, str]
    body: bytes

    @property
    def is_problem(self) -> bool:
        return self.headers.get("content-type") == "application/problem+json" and "code" in self.json()

    def json(self) -> Any:
        return json.loads(self.body)


class RawClient:
    """Sends each request on a connection of its own, which it asks to be closed, and reads it to its end."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 0
        self.authorization = f"Authorization: Bearer {key}".encode()

    def request(self, line: str | bytes, *headers: str | bytes, body: bytes = b"", sized: bool = True) -> RawAnswer:
        """``line`` such as ``GET /livez``; with a key, and with the length of ``body`` unless not ``sized``."""
        fields = [_bytes(line) + b" HTTP/1.1", b"Host: here", b"Connection: close", self.authorization]
        fields += map(_bytes, headers)
        fields += [b"Content-Length: %d" % len(body)] if sized and body else []
        return self.send(b"\r\n".join(fields) + b"\r\n\r\n" + body)

    def send(self, content: bytes, *, ended: bool = False) -> RawAnswer:
        """``ended``: say that nothing more will come, though the answer may still be read."""
        received = b""
        with socket.create_connection(self._address, _TIMEOUT_SECONDS) as connection:
            try:
                connection.sendall(content)
                if ended:
                    connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(65536):
                    received += piece
            except ConnectionError:
                pass  # what was answered before counts
        return _parsed(received)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _parsed(received: bytes) -> RawAnswer:
    received = received.removeprefix(_CONTINUE)
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first:
        return RawAnswer(0, {}, b"")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = _joined(body)
    return RawAnswer(int(first.split()[1]), headers, body)


def _joined(chunked: bytes) -> bytes:
    whole = b""
    while chunked:
        size, _, rest = chunked.partition(b"\r\n")
        whole, chunked = whole + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return whole
