"""The OpenAPI document, and the page ``/docs``: Swagger UI from the package. No network, no inline script, no key kept
in the browser. All of it is made once: anybody may ask for it, as often as they like."""

import json
from collections.abc import Awaitable, Callable
from functools import cache
from importlib import resources

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.security import HTTPBearer

KEY_SCHEME = HTTPBearer(auto_error=False, scheme_name="api key", description="Authorization: Bearer tm_...")
_ASSETS = "fastapi_swagger.resources"
_TYPES = {
    "swagger-ui-bundle.js": "application/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
_START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, filter: true, tryItOutEnabled: true,
  displayRequestDuration: true, presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout"
});
"""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def documentation_router(title: str) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json", name="openapi")
    async def document(request: Request) -> Response:
        return Response(_document(request.app), media_type="application/json")

    @router.get("/docs")
    async def page() -> Response:
        return Response(_page(title), media_type="text/html", headers={"Content-Security-Policy": _POLICY})

    @router.get("/swagger/start.js")
    async def start() -> Response:
        return Response(_START, media_type="application/javascript")

    for name, media_type in _TYPES.items():
        router.add_api_route(f"/swagger/{name}", _asset(name, media_type), name=name)
    return router


@cache
def _document(app: FastAPI) -> bytes:
    return json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()


def _asset(name: str, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def asset() -> Response:
        return Response(_bytes_of(name), media_type=media_type)

    return asset


@cache
def _bytes_of(name: str) -> bytes:
    return (resources.files(_ASSETS) / name).read_bytes()


def _page(title: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - API</title>
<link rel="icon" href="/swagger/favicon-32x32.png">
<link rel="stylesheet" href="/swagger/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/swagger/swagger-ui-bundle.js"></script>
<script src="/swagger/start.js"></script>
</body>
</html>
"""
