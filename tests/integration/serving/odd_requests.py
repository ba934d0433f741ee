"""What a caller can send that no client of ours would: parts of paths, queries, header fields, bodies, frames."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.integration.serving.standing import Scenario

PATH_PARTS = (
    "%00", "%2F", "%FF", "%ED%A0%80", "%", "%zz", "..", "%2e%2e", "a%0Ab", "%E2%80%AE", "x" * 20_000, "wealth%00",
    "wealth/", "%20", "wealth%0A", "1_0", "1.0", "%D9%A3", "-1", "1e3", "9" * 20, "9" * 5_000, "latest", "NaN", ";",
    "a:b", "%3A", "%5C", "%25", "+", "wealth%2Fstatus",
)  # fmt: skip
ANY_QUERY = (
    "nope=1", "&&&", "=", "a" * 30_000, "&".join(f"a{number}=1" for number in range(3000)), "%00=1", "%FF=%FF",
)  # fmt: skip
QUERY_VALUES = {
    "": ("", "%00", "%FF", "%ED%A0%80", "x" * 5_000, "%0D%0AX:1"),
    "integer": ("NaN", "inf", "1e400", "%D9%A3", "1_0", "%201", "9" * 5_000, "0", "-1", "9007199254740992", "1.5"),
    "date-time": (
        "5", "NaN", "0001-01-01T00:00:00%2B23:59", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999-23:59",
        "9999-12-31T23:59:59.9999999999Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:60Z", "2026-01-01T24:00:00Z",
    ),
    "string": ("..%2F..%2Fa", "rot13", "==", "a=b", "%F0%9F%98%80"),
    "boolean": ("maybe", "2", "%D9%A1"),
}  # fmt: skip
"""By what a parameter's schema speaks of; the first ones for all."""
HEADER_FIELDS = (
    "Idempotency-Key: ", "Idempotency-Key: " + "k" * 300, b"Idempotency-Key: \xff\xfe",
    "Idempotency-Key: a\r\nIdempotency-Key: b", "If-Match: *", 'If-Match: W/"1"', 'If-Match: "1", "2"', "If-Match: ",
    "If-Match: x", b'If-Match: "\xd9\xa3"', 'If-Match: "' + "9" * 30 + '"', "If-None-Match: *", b"If-None-Match: \xff",
    "Content-Encoding: nope", "Content-Encoding: gzip, gzip", "Content-Encoding: gzip", "Content-Encoding: identity",
    "Accept: image/png", "Accept: ", "Accept: */*;q=nan", "Accept: " + "a," * 5_000, "Last-Event-ID: x",
    "Last-Event-ID: 99999999999999999999", "Last-Event-ID: -1", "Last-Event-ID: 1_0", "Range: bytes=0-0",
    "Range: bytes=9-1", "Expect: 100-continue", "Expect: nope", "X-Request-ID: " + "x" * 5_000, b"X-Request-ID: \xff",
    "X-Deployment: ", b"X-Deployment: \xff", "X-Deployment: nope", "traceparent: 00-zz", b"traceparent: \xff",
    "X-HTTP-Method-Override: DELETE", "Upgrade: websocket\r\nConnection: Upgrade", 'Cookie: __Host-tidemill-session="',
    b"Cookie: __Host-tidemill-session=\xff", "Cookie: =;;;=", "Host: ", 'Forwarded: for="', b"X-Forwarded-For: \xff",
    "Authorization: Basic !!", b"X-Original-URI: /\xff", "X-Original-URI: //\r\n",
)  # fmt: skip
CREDENTIALS = (
    b"Basic \xff", b"Basic !!", b"Basic /w==", b"Basic Og==", b"Basic", b"Bearer", b"Bearer \xd9\xa3", b"Bearer tm_",
    b"", b"Digest x", b"Bearer " + b"x" * 10_000, b"\xff\xfe", b"Basic " + b"/" * 4_000,
)  # fmt: skip
CONTENT_TYPES = (
    "application/json; charset=nope", "application/json;charset=utf-16", ";", "application/", "", b"\xff",
    'application/json; charset="', "text/csv; charset=rot13", "text/csv; charset=", "text/csv; charset=base64",
    "text/csv; charset=idna", "text/csv; charset=undefined", "application/x-ndjson; charset=utf-7",
    "text/csv; charset*=utf-8''%FF", "multipart/form-data", "application/x-www-form-urlencoded",
    "application/json\r\nContent-Type: text/csv", "application/vnd.apache.parquet", "APPLICATION/JSON",
)  # fmt: skip
BODIES = (
    b"", b"null", b"[]", b'"x"', b"1e400", b"NaN", b"-", b"[" * 100_000, b'{"a":' * 50_000, b'{"\\ud800":1}',
    b"\xef\xbb\xbf{}", '{"a":1}'.encode("utf-16"), b"{}x", b"\xff\xfe", b"9" * 5_000, b'{"":0}',
)  # fmt: skip
ODD_VALUES = (
    "1e400", "-1e400", "NaN", "true", "1.0", "-0.0", "1e19", "9" * 400, '"\\u0000"', '"\\ud800"', '"x\\n"', "[]", "{}",
    '[[]]', "null", '""', '"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59.999999Z"', "5", '"' + "x" * 5_000 + '"',
    "-1", "0", "4294967296", "5e-324",
    '[{"prediction_id": "prd_e677d21fdbff00000000000000000000", "truth": 1}]',
    '[{"prediction_id": "prd_00000000000000000000000000000000", "truth": 1}]',
)  # fmt: skip
"""JSON texts that take the place of one member after the other."""
ODD_ROWS = (
    *ODD_VALUES,
    '[{"age": 1e400}]', '[{"age": 1, "hours": 1, "town": "\\ud800"}]', '[{"age": 1, "hours": 1, "town": "\\u0000"}]',
    '[{"age": 1.0, "hours": 1}]', '[{"age": 9223372036854775808, "hours": 1}]', '[{"age": 1, "hours": "1"}]', "[[1]]",
    '{"age": [1], "hours": [1, 2]}', '{"columns": ["age", "age"], "data": [[1]]}', '{"columns": [[]], "data": [1]}',
)  # fmt: skip
_ROWS = frozenset({"inputs", "instances", "dataframe_split", "dataframe_records"})


@dataclass(frozen=True)
class Frame:
    """A request in which only its outside is odd. ``fields`` and ``body`` follow the content type."""

    name: str
    fields: tuple[bytes, ...]
    body: bytes
    statuses: frozenset[int] = frozenset({400})


_CHUNKED = b"Transfer-Encoding: chunked"
FRAMES = (
    Frame("shorter than its length", (b"Content-Length: 3",), b'{"a": 1}'),
    Frame("a negative length", (b"Content-Length: -1",), b"{}"),
    Frame("a length that is no number", (b"Content-Length: abc",), b"{}"),
    Frame("a length with a sign", (b"Content-Length: +2",), b"{}"),
    Frame("two lengths", (b"Content-Length: 2", b"Content-Length: 3"), b"{}"),
    Frame("a length beyond all numbers", (b"Content-Length: " + b"9" * 30,), b"{}"),
    Frame("a length beyond the limit", (b"Content-Length: 99999999999",), b"{}", frozenset({413})),
    Frame("both a length and chunks", (b"Content-Length: 5", _CHUNKED), b"2\r\n{}\r\n0\r\n\r\n"),
    Frame("chunks and then a length", (_CHUNKED, b"Content-Length: 5"), b"2\r\n{}\r\n0\r\n\r\n"),
    Frame("another transfer coding", (b"Transfer-Encoding: gzip",), b"{}"),
    Frame("chunks in chunks", (b"Transfer-Encoding: chunked, chunked",), b"0\r\n\r\n"),
    Frame("a chunk without a size", (_CHUNKED,), b"zz\r\n"),
    Frame("a chunk of a negative size", (_CHUNKED,), b"-1\r\n\r\n"),
    Frame("a chunk of a size beyond all numbers", (_CHUNKED,), b"f" * 20 + b"\r\n\r\n"),
    Frame("an unknown coding", (b"Content-Encoding: nope", b"Content-Length: 2"), b"{}", frozenset({415})),
    Frame("gzip where it is not read", (b"Content-Encoding: gzip", b"Content-Length: 2"), b"{}", frozenset({415})),
    Frame("two codings", (b"Content-Encoding: gzip, gzip", b"Content-Length: 2"), b"{}", frozenset({415})),
    Frame("NUL in a field", (b"X-Field: a\0b", b"Content-Length: 2"), b"{}"),
    Frame("a folded field", (b"X-Field: a\r\n b", b"Content-Length: 2"), b"{}"),
    Frame("a space before a colon", (b"X-Field : a", b"Content-Length: 2"), b"{}"),
)
REQUEST_LINES = (
    b"PRI * HTTP/2.0", b"GET /livez HTTP/9.9", b"BREW /livez HTTP/1.1", b"get /livez HTTP/1.1", b"GET /li vez HTTP/1.1",
    "GET /\u00e9 HTTP/1.1".encode(), b"GET  HTTP/1.1", b"CONNECT x:1 HTTP/1.1", b"\x16\x03\x01\x00\x00", b"GET",
)  # fmt: skip
"""First lines of no request of HTTP/1.1 that is served here."""


@dataclass(frozen=True)
class Asked:
    """An operation with what it needs to succeed."""

    name: str
    method: str
    template: str
    path: dict[str, Any]
    query: dict[str, str]
    """The parameters that it knows, with their schemas as JSON."""
    needed: str
    """Query string without which it says no more than that something is missing."""
    content_type: tuple[str, ...]
    body: bytes
    members: dict[str, Any]
    """Of a JSON body: all that it may have."""

    def target(self, **changed: str) -> str:
        """The path, with the values of a request that succeeds where it has no others."""
        values = self.path | changed
        return re.sub(r"\{(\w+)\}", lambda found: str(values.get(found[1], "x")), self.template)

    @property
    def takes_away(self) -> bool:
        return self.method == "DELETE" or self.template.endswith((":cancel", ":revoke"))


def asked(document: dict[str, Any], scenario: Scenario) -> Iterator[Asked]:
    """Every operation of a document."""
    schemas = document["components"]["schemas"]
    for template, operations in document["paths"].items():
        for method, operation in operations.items():
            example = scenario.examples.get(operation["operationId"], {})
            body: Any = example.get("body", {})
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema", {})
            schema = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
            parameters = [one for one in operation.get("parameters", ()) if one["in"] == "query"]
            yield Asked(
                name=operation["operationId"],
                method=method.upper(),
                template=template,
                path=dict(example.get("path", {})),
                query={one["name"]: json.dumps(one["schema"]) for one in parameters},
                needed="&".join(
                    f"{one['name']}={example['query'][one['name']]}" for one in parameters if one.get("required")
                ),
                content_type=(f"Content-Type: {example.get('media_type', 'application/json')}",) if content else (),
                body=(body.encode() if isinstance(body, str) else json.dumps(body).encode()) if content else b"",
                members=dict.fromkeys(schema.get("properties", ())) | (body if isinstance(body, dict) else {}),
            )


def odd_values(schema: str) -> Iterator[str]:
    """For a query parameter with this schema."""
    for word, values in QUERY_VALUES.items():
        if word in schema:
            yield from values


def odd_bodies(operation: Asked) -> Iterator[bytes]:
    """Bodies that are no objects, and the good one with each member in turn being odd.

    A member gets every second value, and its neighbour the others: they are read alike.
    """
    yield from BODIES
    good = {name: value for name, value in operation.members.items() if value is not None}
    for number, member in enumerate(sorted(operation.members)):
        others = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in good.items() if name != member]
        for value in ODD_ROWS if member in _ROWS else ODD_VALUES[number % 2 :: 2]:
            yield ("{" + ", ".join([*others, f"{json.dumps(member)}: {value}"]) + "}").encode()
