"""The key files of `tidemill up`: kept while they are good, else set aside, told and made anew."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tidemill.auth.keys import generate_token, read_token
from tidemill.auth.scopes import Scope
from tidemill.auth.service import NewKey, create_key
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.keys import ApiKey
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Forbidden
from tidemill.platform.keys import SecretFiles

_ADMIN = NewKey("admin", [Scope.ADMIN])


class Keys:
    """One key file, and what was told about it."""

    def __init__(self, sessions: SessionFactory, folder: Path) -> None:
        self.sessions = sessions
        self.file = folder / "admin.key"
        self.told: list[tuple[Path, Path, str]] = []
        self._files = SecretFiles(folder / "quarantine", lambda *said: self.told.append(said))

    async def ensure(self) -> str | None:
        return await self._files.ensure_key(self.sessions, self.file, _ADMIN, "test")

    async def made(self, *scopes: Scope, environment: str = "test") -> str:
        async with transaction(self.sessions) as session:
            return (await create_key(session, NewKey("other", scopes), environment, None))[1]

    async def revoked(self) -> str:
        token = await self.made(Scope.ADMIN)
        async with transaction(self.sessions) as session:
            key = await session.get(ApiKey, read_token(token).key_id)
            assert key is not None
            key.revoked_at = utc_now()
        return token

    async def of_another_secret(self) -> str:
        return generate_token("test", read_token(await self.made(Scope.ADMIN)).key_id)


@pytest.fixture
def keys(sessions: SessionFactory, tmp_path: Path) -> Keys:
    return Keys(sessions, tmp_path)


async def test_a_key_is_made_once_and_stays_whatever_its_line_ends(keys: Keys) -> None:
    token = await keys.ensure()
    assert token is not None
    assert keys.file.read_text() == token + "\n"
    for ends in ("\r\n", "", " \n\n"):
        keys.file.write_bytes((token + ends).encode())
        assert await keys.ensure() is None
        assert keys.file.read_bytes() == (token + ends).encode()
    assert keys.told == []


async def _text(text: str) -> str:
    return text


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (lambda _: _text(""), "no API key"),
        (lambda _: _text(" \r\n\t"), "no API key"),
        (lambda _: _text("\udcff\udcfe"), "no API key"),
        (lambda keys: keys.made(Scope.ADMIN, environment="local"), "another environment"),
        (lambda _: _text(generate_token("test", "key_" + "0" * 32)), "does not know"),
        (lambda keys: keys.of_another_secret(), "does not know"),
        (lambda keys: keys.revoked(), "revoked"),
        (lambda keys: keys.made(Scope.SERVING), "other scopes"),
    ],
    ids=["empty", "blank", "no text", "another environment's", "another platform's", "another secret", "revoked",
         "the serving key"],
)  # fmt: skip
async def test_a_key_file_that_is_not_good_is_kept_aside_told_and_made_anew(
    keys: Keys, content: Callable[[Keys], Awaitable[str]], fault: str
) -> None:
    before = (await content(keys)).encode(errors="surrogateescape")
    keys.file.write_bytes(before)
    token = await keys.ensure()
    assert keys.file.read_text() == f"{token}\n"
    [(file, kept, said)] = keys.told
    assert (file, kept.read_bytes()) == (keys.file, before)
    assert fault in said
    assert await keys.ensure() is None
    assert len(keys.told) == 1


@pytest.mark.parametrize("kind", ["a folder", "a dangling link", "a link elsewhere"])
async def test_what_is_no_file_in_the_place_of_a_key_is_refused_and_makes_no_key(
    keys: Keys, tmp_path: Path, kind: str
) -> None:
    if kind == "a folder":
        keys.file.mkdir()
    else:
        target = tmp_path / "target"
        if kind == "a link elsewhere":
            target.write_text("kept")
        keys.file.symlink_to(target)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Forbidden, match=str(keys.file)):
        await keys.ensure()
    assert sorted(tmp_path.rglob("*")) == before
