"""The api as a model server sees it, over HTTP."""

import hashlib
from pathlib import Path
from typing import Any

import httpx
from pydantic import ValidationError

from tidemill import __version__
from tidemill.kit.answers import error_of_answer
from tidemill.kit.errors import Invalid, TooLarge, Unavailable
from tidemill.kit.ids import uuid7
from tidemill.schemas.serving import SegmentReceipt, ServerReport

_TIMEOUT = httpx.Timeout(30, connect=5)
_SHIP_TIMEOUT = httpx.Timeout(120, connect=5)
_COPY_BYTES = 1 << 20


class ControlPlane:
    """Raises the errors that the api describes, and Unavailable when it is away."""

    def __init__(self, url: str, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}", "User-Agent": f"tidemill-model-server/{__version__}"}
        self._http = httpx.AsyncClient(base_url=url.rstrip("/"), headers=headers, timeout=_TIMEOUT, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def snapshot(self, etag: str | None) -> tuple[bytes, str] | None:
        """The snapshot's JSON and its ETag; None if it is still the one with ``etag``."""
        headers = {"If-None-Match": etag} if etag else {}
        response = await self._send("GET", "/api/v1/serving/snapshot", headers=headers)
        return None if response.status_code == 304 else (response.content, response.headers.get("etag", ""))

    async def report(self, report: ServerReport) -> None:
        await self._send("POST", "/api/v1/serving/status", json=report.model_dump(mode="json"))

    async def ship(self, content: bytes) -> SegmentReceipt:
        headers = {"Content-Type": "application/x-ndjson", "X-Request-Id": uuid7().hex}
        response = await self._send(
            "POST", "/api/v1/ledger/segments", content=content, headers=headers, timeout=_SHIP_TIMEOUT
        )
        try:
            return SegmentReceipt.model_validate_json(response.content)
        except ValidationError:
            raise Unavailable("api_answer_unreadable", "The api's receipt cannot be read.") from None

    async def download_bundle(self, sha256: str, size_bytes: int, target: Path) -> None:
        """Write the bundle to ``target``. Raises Invalid if the bytes are not those of ``sha256``."""
        digest, size = hashlib.sha256(), 0
        try:
            async with self._http.stream("GET", f"/api/v1/serving/bundles/{sha256}") as response:
                if response.status_code >= 400:
                    await response.aread()
                _raise_for(response)
                with target.open("wb") as out:
                    async for chunk in response.aiter_bytes(_COPY_BYTES):
                        size += len(chunk)
                        if size > size_bytes:
                            raise TooLarge("bundle_too_large", "The bundle is larger than the api said.")
                        digest.update(chunk)
                        out.write(chunk)
        except httpx.HTTPError as error:
            raise _away(error) from error
        if digest.hexdigest() != sha256:
            raise Invalid("bundle_corrupt", "The bundle's bytes do not have the expected SHA-256.")

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = await self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise _away(error) from error
        _raise_for(response)
        return response


def _raise_for(response: httpx.Response) -> None:
    if response.status_code < 400:
        return
    try:
        error = error_of_answer(response.status_code, response.content, response.headers.get("x-request-id"))
    except (AttributeError, KeyError, TypeError, ValueError):  # an answer of something that is not our api
        raise Unavailable("api_answer_unreadable", f"The api answered HTTP {response.status_code}.") from None
    if error is not None:
        raise error


def _away(error: httpx.HTTPError) -> Unavailable:
    return Unavailable("api_unavailable", f"The api does not answer ({type(error).__name__}).")
