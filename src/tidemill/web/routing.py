"""Which route a request means, known before anything else of the request is looked at."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from tidemill.web.problems import method_not_allowed, route_not_found

_PARAMETER = re.compile(r"\{[a-z_][a-z0-9_]*\}")


@dataclass(frozen=True, slots=True)
class KnownRoute:
    """A route of the application, whatever router it is of."""

    path: str
    """As the document writes it, such as ``/api/v1/jobs/{job_id}``."""
    methods: frozenset[str]
    calls: tuple[Callable[..., Any], ...]
    """The route's function and every dependency of it."""
    pattern: re.Pattern[str]


class RouteTable:
    """All routes of an application in the order in which they count.

    What stands for a parameter holds no ``/`` and no ``:``, since ``{name}:verb`` is another path than ``{name}``.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = [_known(found) for found in iter_route_contexts(routes) if found.path is not None]

    def __iter__(self) -> Iterator[KnownRoute]:
        return iter(self._routes)

    def find(self, method: str, path: str) -> tuple[KnownRoute | None, list[str]]:
        """The route of a request, and every method that its path takes (none: there is no such path)."""
        at_path = [route for route in self._routes if route.pattern.fullmatch(path)]
        route = next((route for route in at_path if method in route.methods), None)
        return route, sorted({name for other in at_path for name in other.methods})


class RouteMiddleware:
    """Puts the `KnownRoute` into the scope; 404 and 405 (with every method of the path) are answered at once.

    An escaped slash is 404: in no name there is one, and unescaped it would lead to another route than it seems to.
    """

    def __init__(self, app: ASGIApp, table: Callable[[], RouteTable]) -> None:
        self.app = app
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_split = b"%2f" in scope.get("raw_path", b"").lower()
        route, methods = (None, []) if is_split else self._table().find(scope["method"], scope["path"])
        if route is not None:
            scope["route"] = scope["tidemill.route"] = route
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        answer = method_not_allowed(request, methods) if methods else route_not_found(request)
        await answer(scope, receive, send)


def target_of(request: Request) -> tuple[str, str]:
    """Path and query, whatever bytes they are of: the framework's ``request.url`` reads the query as UTF-8, and whose
    host it names the caller says."""
    return request.scope["path"], request.scope["query_string"].decode("latin-1")


def route_of(scope: Scope) -> KnownRoute | None:
    """What `RouteMiddleware` found."""
    route = scope.get("tidemill.route")
    assert route is None or isinstance(route, KnownRoute)
    return route


def _known(found: RouteContext) -> KnownRoute:
    path = found.path_format or found.path
    assert path is not None
    literals = [re.escape(text) for text in _PARAMETER.split(path)]
    calls = tuple(_calls(found.dependant)) if isinstance(found.original_route, APIRoute) else ()
    return KnownRoute(path, frozenset(found.methods or ()), calls, re.compile("[^/:]+".join(literals)))


def _calls(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    if dependant.call is not None:
        yield dependant.call
    for inner in dependant.dependencies:
        yield from _calls(inner)
