"""HTTP with our keys, bounded retries, and problem details turned back into the errors of `tidemill.kit.errors`."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from json import dumps
from typing import Any
from urllib.parse import quote

import httpx

from tidemill import __version__
from tidemill.kit import errors
from tidemill.kit.answers import error_of_answer
from tidemill.kit.errors import TidemillError

_ATTEMPTS = 4
_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 5.0
_AWAY = frozenset({502, 503})
_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
Content = bytes | Iterable[bytes]


class Transport:
    """One server and one key. Not for asynchronous code: run it in a thread there."""

    def __init__(self, url: str, key: str | None, timeout_seconds: float = 60) -> None:
        headers = {"User-Agent": f"tidemill/{__version__}"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self.url = url.rstrip("/")
        timeout = httpx.Timeout(timeout_seconds, connect=5)
        try:
            self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout)
        except (UnicodeError, httpx.InvalidURL):
            raise errors.Invalid("client_invalid", "The address is no URL, or the key is none of ours.") from None

    def close(self) -> None:
        """Close the connections that are kept open between calls."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        content: Content | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer's JSON, None if it has no body. Raises the error that the server described."""
        response = self.send(method, path, json=json, params=params, content=content, headers=headers)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError:
            raise errors.Unavailable("answer_not_json", f"{self.url} does not answer as Tidemill does.") from None

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """As `request`, with status and headers.

        Safe methods are repeated while the server is away, and every request that it refused as one too many; an answer
        that does not come in time is not waited for again.
        """
        options = _with_content(options) | {"params": _present(options.get("params"))}
        for attempt in range(_ATTEMPTS):
            last, wait_seconds = attempt == _ATTEMPTS - 1, _FIRST_WAIT_SECONDS * 2**attempt
            try:
                response = self._http.request(method, path, **options)
            except (UnicodeError, httpx.InvalidURL):
                raise errors.Invalid("text_invalid", "The request holds a text that cannot be sent.") from None
            except httpx.TransportError as error:
                is_away = isinstance(error, httpx.ConnectError) or _can_repeat(method, options)
                if last or not is_away or isinstance(error, httpx.ReadTimeout):
                    raise self._away(error) from error
            else:
                if last or not _invites_repetition(response, method, options):
                    raise_for_problem(response)
                    return response
                wait_seconds = max(wait_seconds, _asked_wait_seconds(response))
            time.sleep(wait_seconds)
        raise AssertionError("unreachable")

    def look(self, path: str, params: Mapping[str, Any]) -> tuple[bool, Any]:
        """Ask once: whether the answer is a success, and its JSON, None if it has none. Raises Unavailable."""
        try:
            response = self._http.get(path, params=params)
        except (httpx.TransportError, UnicodeError, httpx.InvalidURL) as error:
            raise errors.Unavailable("server_unreachable", f"{self.url} cannot be reached.") from error
        try:
            return response.is_success, response.json()
        except ValueError:
            return response.is_success, None

    @contextlib.contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        read_timeout_seconds: float | None = None,
    ) -> Iterator[httpx.Response]:
        """An answer read piece by piece; not repeated."""
        timeout = httpx.USE_CLIENT_DEFAULT if read_timeout_seconds is None else httpx.Timeout(read_timeout_seconds)
        try:
            with self._http.stream(method, path, params=_present(params), headers=headers, timeout=timeout) as response:
                if response.status_code >= 400:
                    response.read()
                raise_for_problem(response)
                yield response
        except httpx.InvalidURL:
            raise errors.Invalid("text_invalid", "The request holds a text that cannot be sent.") from None
        except httpx.TransportError as error:
            raise self._away(error) from error

    def _away(self, error: httpx.TransportError) -> TidemillError:
        if isinstance(error, httpx.TimeoutException):
            return errors.DeadlineExceeded("server_timeout", f"{self.url} did not answer in time.")
        return errors.Unavailable("server_unavailable", f"{self.url} cannot be reached. Is Tidemill up?")


def segment(text: str) -> str:
    """``text`` as one part of a path. Raises NotFound for what would lead to another path, and so names nothing."""
    if text in ("", ".", "..") or "/" in text:
        raise errors.NotFound("name_invalid", "There is nothing of this name, which is no part of a path.")
    try:
        return quote(text, safe="@")
    except UnicodeError:
        raise errors.Invalid("text_invalid", "The request holds a text that cannot be sent.") from None


def _with_content(options: Mapping[str, Any]) -> dict[str, Any]:
    """With ``json`` as the bytes it is sent as. Raises Invalid for what JSON cannot carry."""
    sent = {name: value for name, value in options.items() if name != "json"}
    if options.get("json") is None:
        return sent
    try:
        text = dumps(options["json"], ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        headers = {"Content-Type": "application/json", **(options.get("headers") or {})}
        return sent | {"content": text.encode(), "headers": headers}
    except (TypeError, ValueError, RecursionError):
        raise errors.Invalid(
            "value_not_json",
            "A value cannot be sent. JSON has texts of Unicode, finite numbers, booleans, null, lists and objects.",
        ) from None


def _can_repeat(method: str, options: Mapping[str, Any]) -> bool:
    return method in _REPEATABLE and _is_whole(options)


def _is_whole(options: Mapping[str, Any]) -> bool:
    """The body is not a stream that was read already."""
    content = options.get("content")
    return content is None or isinstance(content, bytes)


def _invites_repetition(response: httpx.Response, method: str, options: Mapping[str, Any]) -> bool:
    if response.status_code == 429:  # refused before anything was done
        return _is_whole(options)
    return response.status_code in _AWAY and _can_repeat(method, options)


def _asked_wait_seconds(response: httpx.Response) -> float:
    asked = response.headers.get("retry-after", "")
    return min(float(asked), _LONGEST_WAIT_SECONDS) if asked.isdecimal() else 0


def _present(params: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {name: value for name, value in params.items() if value is not None} if params else None


def raise_for_problem(response: httpx.Response) -> None:
    """Raise what a problem document describes; do nothing for a success."""
    if response.status_code < 400:
        return
    error = error_of_answer(response.status_code, response.content, response.headers.get("x-request-id"))
    if error is not None:
        raise error
