"""Routes of API keys."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from tidemill.auth import service
from tidemill.auth.principal import Principal
from tidemill.auth.privileges import require_may_create
from tidemill.auth.scopes import Scope
from tidemill.deps import SessionDep, SettingsDep, require
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Invalid, Problem
from tidemill.schemas.keys import Key, KeyCreate, KeyCreated
from tidemill.schemas.page import Page, PageQuery, encode_token

router = APIRouter(prefix="/api/v1/keys", tags=["keys"])
KeysPrincipal = Annotated[Principal, Depends(require(Scope.KEYS_WRITE))]


@router.post("", operation_id="keys_create", status_code=201)
async def create(body: KeyCreate, session: SessionDep, settings: SettingsDep, principal: KeysPrincipal) -> KeyCreated:
    """Create a key. Its token is in this answer and nowhere else; nobody can grant more than they hold, nor longer."""
    scopes = _scopes(body.scopes)
    require_may_create(principal, scopes, body.expires_at)
    if body.expires_at is not None and body.expires_at <= utc_now():
        raise Invalid("expiry_past", "The expiry lies in the past.", [Problem("/expires_at", "expiry_past", "Past.")])
    new = service.NewKey(body.name, scopes, body.expires_at)
    key, token = await service.create_key(session, new, settings.environment, principal.key_id)
    return KeyCreated(**Key.model_validate(key).model_dump(), token=token)


@router.get("", operation_id="keys_list")
async def list_keys(page: Annotated[PageQuery, Query()], session: SessionDep, _principal: KeysPrincipal) -> Page[Key]:
    """Keys, newest first, without their secrets; those of others too, so that it is seen what there is."""
    found = await service.list_keys(session, page.page_size + 1, page.after_text())
    items = found[: page.page_size]
    more = encode_token([items[-1].id]) if len(found) > page.page_size else None
    return Page[Key](items=[Key.model_validate(key) for key in items], next_page_token=more)


@router.post("/{key_id}:revoke", operation_id="keys_revoke")
async def revoke(key_id: str, session: SessionDep, principal: KeysPrincipal) -> Key:
    """Revoke a key at once. 403 for one with a scope that the caller's key lacks.

    409 if it is revoked already, or the last valid one with the scope `admin`: that would lock everybody out.
    """
    return Key.model_validate(await service.revoke_key(session, key_id, principal))


def _scopes(names: list[str]) -> list[Scope]:
    known = {scope.value for scope in Scope}
    problems = [
        Problem(f"/scopes/{index}", "scope_unknown", "There is no such scope.")
        for index, name in enumerate(names)
        if name not in known
    ]
    if problems:
        raise Invalid("scope_unknown", f"Unknown scope. Scopes are: {', '.join(sorted(known))}.", problems)
    return [Scope(name) for name in dict.fromkeys(names)]
