"""Routes of the sign-in, and the question that the proxy asks before it opens a console."""

from typing import Annotated

from fastapi import APIRouter, Form, Header, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response as AnyResponse

from tidemill.auth.keys import read_token, token_of_header
from tidemill.auth.principal import Principal
from tidemill.auth.service import authenticate
from tidemill.deps import ApiServices, LanesDep, ServicesDep, SessionDep, SettingsDep
from tidemill.features.sessions import service
from tidemill.features.sessions.access import Access, Area, grafana_role, require_area
from tidemill.features.sessions.origin import own_path, require_same_origin, sign_in_path
from tidemill.features.sessions.pages import sign_in_page, signed_in_page
from tidemill.kit.errors import Forbidden, Unauthenticated
from tidemill.kit.hashing import sha256_of_bytes
from tidemill.web.problems import problem_response

COOKIE = "__Host-tidemill-session"
"""The prefix makes browsers refuse it without TLS, for other paths, and from other hosts of the same domain."""
router = APIRouter(tags=["sessions"])
pages_router = APIRouter(include_in_schema=False)
FormText = Annotated[str, Form(max_length=4096)]
_SEE_OTHER = 303


@router.get("/api/v1/session", operation_id="sessions_get", status_code=204, response_class=Response)
async def get_session(
    request: Request,
    session: SessionDep,
    services: ServicesDep,
    area: Annotated[Area | None, Query(description="What the caller wants to open.")] = None,
    access: Annotated[Access, Query(description="How.")] = Access.READ,
    x_original_uri: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> AnyResponse:
    """Who the caller is, by API key or by the cookie of the sign-in page.

    204 with `X-Tidemill-Principal` (the key's id), `X-Tidemill-Name` and `X-Tidemill-Role` (Grafana's word).
    401 without a key or session, 403 without the scope for `area`.
    """
    try:
        principal = await _principal(request, session, services, access)
    except Unauthenticated as error:
        refused = problem_response(error, request)
        refused.headers["X-Tidemill-Sign-In"] = sign_in_path(x_original_uri)
        return refused
    if area is not None:
        require_area(principal, area, access)
    headers = {
        "X-Tidemill-Principal": principal.key_id,
        "X-Tidemill-Name": principal.name,
        "X-Tidemill-Role": grafana_role(principal),
        "Cache-Control": "no-store",
    }
    return Response(status_code=204, headers=headers)


@pages_router.get("/sign-in")
async def show_sign_in(
    request: Request,
    session: SessionDep,
    settings: SettingsDep,
    lanes: LanesDep,
    back_to: Annotated[str | None, Query(alias="next")] = None,
) -> AnyResponse:
    """The form; who is signed in already sees where to go."""
    if (token := request.cookies.get(COOKIE)) is not None:
        try:
            async with lanes.turn(sha256_of_bytes(token.encode())):
                return signed_in_page(await service.find(session, token, settings.session))
        except Unauthenticated:
            pass  # it is over: the form starts another one
    return sign_in_page(own_path(back_to))


@pages_router.post("/sign-in")
async def sign_in(
    request: Request,
    session: SessionDep,
    settings: SettingsDep,
    lanes: LanesDep,
    key: FormText = "",
    back_to: Annotated[str | None, Form(alias="next")] = None,
) -> AnyResponse:
    """Begin a session and go where the caller was heading, on this origin only."""
    require_same_origin(request)
    path = own_path(back_to)
    try:
        async with lanes.turn(read_token(key.strip(), settings.environment)):
            begun = await service.begin(session, key.strip(), settings.environment, settings.session)
    except Unauthenticated:
        return sign_in_page(path, "This key is unknown, revoked or expired.", 401)
    except Forbidden as error:
        return sign_in_page(path, error.detail, 403)
    answer = RedirectResponse(path or "/sign-in", _SEE_OTHER)
    lifetime = settings.session.lifetime_seconds
    answer.set_cookie(COOKIE, begun.token, max_age=lifetime, path="/", secure=True, httponly=True, samesite="lax")
    return answer


@pages_router.post("/sign-out")
async def sign_out(request: Request, session: SessionDep) -> AnyResponse:
    """End the session and forget its cookie."""
    require_same_origin(request)
    if (token := request.cookies.get(COOKIE)) is not None:
        await service.end(session, token)
    answer = RedirectResponse("/sign-in", _SEE_OTHER)
    answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return answer


@pages_router.get("/sign-out")
async def show_sign_out() -> AnyResponse:
    """A link ends no session: the button for it is on the sign-in page."""
    return RedirectResponse("/sign-in", _SEE_OTHER)


async def _principal(request: Request, session: AsyncSession, services: ApiServices, access: Access) -> Principal:
    """A key counts before a cookie, and only a cookie needs to be meant: browsers send it unasked."""
    if (authorization := request.headers.get("authorization")) is not None:
        key, environment = token_of_header(authorization), services.settings.environment
        async with services.lanes.turn(read_token(key, environment)):
            return await authenticate(session, key, environment)
    token = request.cookies.get(COOKIE)
    if token is None:
        raise Unauthenticated("key_missing", "Sign in, or send an API key: Authorization: Bearer <key>.")
    if access is Access.WRITE:
        require_same_origin(request)
    async with services.lanes.turn(sha256_of_bytes(token.encode())):
        return await service.find(session, token, services.settings.session)
