"""Requests with what nobody expects in a header, a query or a target, sent to a running server as they are."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

_DIGITS = b"9" * 5000
"""More than Python makes a number of."""
_LATIN = b"\xe9\xb2"
"""No ASCII, no UTF-8, and the second a digit by Unicode."""
_HEADERS = [
    b"Origin: http://[",
    b"Origin: http://]",
    b"Origin: http://[::1",
    b"Origin: http://[x]",
    b"Origin: http://\xaa\xbc\xbd:x",
    b"Origin: //[v1.x",
    b"Origin: " + _LATIN,
    b"Sec-Fetch-Site: " + _LATIN,
    b"Host: [",
    b"Host: ]:x",
    b"Host: a/b?c#d",
    b"Host: x:" + _DIGITS,
    b"Host: " + _LATIN,
    b"Authorization: Basic " + _LATIN,
    b"Authorization: Basic ====",
    b"Authorization: Basic /w==",
    b"Authorization: Basic",
    b"Authorization: Bearer " + _LATIN,
    b"Authorization: " + _LATIN,
    b"Cookie: __Host-tidemill-session=" + _LATIN,
    b'Cookie: __Host-tidemill-session="\\777\\"',
    b"Cookie: =;=;" + b"\\" * 5000,
    b"Content-Length: " + b"0" * 5000 + b"2",
    b"Content-Length: " + _DIGITS,
    b"Content-Length: " + _LATIN,
    b"Content-Length: -1",
    b"Content-Type: " + _LATIN,
    b"Content-Type: multipart/form-data",
    b"Content-Type: multipart/form-data; boundary=" + _LATIN,
    b"Content-Type: multipart/form-data; boundary=x; charset=undefined",
    b"Content-Type: text/csv; charset*" + _DIGITS + b"=x",
    b"Content-Type: text/csv; charset*=utf-8''%00",
    b"Content-Type: text/csv; charset=" + _LATIN,
    b"Content-Type: text/csv; charset=undefined",
    b"Content-Type: application/json; charset=" + _LATIN,
    b"Content-Type: " + b";" * 5000,
    b"Content-Encoding: " + _LATIN,
    b"Idempotency-Key: " + _LATIN,
    b"Idempotency-Key: " + b"9" * 10 + b".999-" + b"x" * 20,
    b"Idempotency-Key: " + _DIGITS,
    b"Last-Event-ID: " + _DIGITS,
    b"Last-Event-ID: " + _LATIN,
    b"If-Match: " + _LATIN,
    b"If-None-Match: " + _LATIN,
    b"If-Modified-Since: " + _DIGITS,
    b"Range: bytes=" + _DIGITS + b"-",
    b"Range: " + _LATIN,
    b"Expect: " + _LATIN,
    b"X-Request-Id: " + _LATIN,
    b"X-Original-URI: http://[",
    b"X-Original-URI: /" + _LATIN,
    b"X-Deployment: " + _LATIN,
    b"X-Tidemill-Access: " + _LATIN,
    b"X-Forwarded-For: [",
    b"X-Forwarded-Proto: " + _LATIN,
    b"X-Forwarded-Host: [",
    b"Forwarded: for=[",
    b"Traceparent: " + _LATIN,
    b"Traceparent: 00-" + b"z" * 32 + b"-" + b"z" * 16 + b"-01",
    b"Tracestate: " + _LATIN,
    b"Baggage: " + _LATIN,
    b"Accept: " + _LATIN,
    b"Connection: Upgrade\r\nUpgrade: websocket",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ",
]
_QUERIES = [
    _LATIN,
    b"%ff=%ff&%00=%00",
    b"page_size=" + _DIGITS,
    b"page_size=" + _LATIN,
    b"page_token=" + _LATIN,
    b"page_token=%ff",
    b"page_token=W1t7",
    b"next=" + _LATIN,
    b"next=http://[",
    b"next=//[",
    b"area=" + _LATIN,
    b"verbose=%00",
    b"since=" + _DIGITS,
    b"[=]&]=[&[[",
]
_TARGETS = [
    b"//[",
    b"http://[/livez",
    b"http://x:" + b"9" * 5000 + b"/",
    b"*",
    b"/%",
    b"/%ff%00",
    b"/" + _LATIN,
    b"x:1",
    b"?",
]


def _requests(method: bytes, path: bytes, key: str) -> Iterator[bytes]:
    """Each with a right value of every header that it does not change."""
    usual = {b"host": b"Host: x", b"authorization": b"Authorization: Bearer " + key.encode(), b"content-length": b""}
    body = b"{}" if method == b"POST" else b""
    usual[b"content-length"] = b"Content-Length: %d" % len(body)
    for odd in _HEADERS:
        name = odd.partition(b":")[0].lower()
        lines = [line for other, line in usual.items() if other != name]
        yield b"\r\n".join([method + b" " + path + b" HTTP/1.1", odd, *lines, b"", body])
    lines = list(usual.values())
    for query in _QUERIES:
        yield b"\r\n".join([method + b" " + path + b"?" + query + b" HTTP/1.1", *lines, b"", body])
    for target in _TARGETS:
        yield b"\r\n".join([method + b" " + target + b" HTTP/1.1", *lines, b"", body])


def _status_of(address: tuple[str, int], request: bytes) -> int:
    """0 if there is no answer at all."""
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(request)
        found = b""
        while b"\r\n" not in found:
            piece = connection.recv(65536)
            if not piece:
                return 0
            found += piece
    return int(found.split(b" ", 2)[1])


def failures(url: str, method: bytes, path: bytes, key: str) -> list[tuple[int, bytes]]:
    """Status and first bytes of each request that the server did not answer, or as if something had failed in it."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    sent = list(_requests(method, path, key))
    answers = [(_status_of((parts.hostname, parts.port), request), request[:200]) for request in sent]
    return [(status, request) for status, request in answers if not 200 <= status < 500]
