"""All items of a paged list."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from tidemill.client.transport import Transport

M = TypeVar("M", bound=BaseModel)


def iterate(
    transport: Transport, path: str, model: type[M], params: Mapping[str, Any] | None = None, page_size: int = 200
) -> Iterator[M]:
    """Every item of the list at ``path``, asking for the next page when it is needed."""
    token: str | None = None
    while True:
        query = {**(params or {}), "page_size": page_size, "page_token": token}
        page = transport.request("GET", path, params=query)
        for item in page["items"]:
            yield model.model_validate(item)
        token = page.get("next_page_token")
        if token is None:
            return
