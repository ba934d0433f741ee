"""`tidemill doctor`"""

import socket
import ssl
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from urllib.parse import urlsplit

import typer
from rich.text import Text

from tidemill import __version__
from tidemill.cli.context import KEY_FILE, client, make_table, show, state
from tidemill.client import Tidemill
from tidemill.kit.errors import Forbidden, TidemillError
from tidemill.kit.exit_codes import FAILURE
from tidemill.kit.own_files import QUARANTINE
from tidemill.schemas.health import CheckResult, HealthChecks
from tidemill.settings.sources import load_settings

app = typer.Typer()
_CONNECT_TIMEOUT_SECONDS = 5
_ANSWER_TIMEOUT_SECONDS = 15
"""Longer than the api gives each of its checks; a part that is frozen must not hold the others up."""
_SKEW_SECONDS = 5
_RENEW_DAYS = 21
_MOST_NAMES = 10
_SAID = {
    "snapshot": "it does not know yet what to serve",
    "models": "its models are not loaded yet, or cannot be for its disk's sake",
    "ledger": "its ledger is full, or has stopped",
    "disk": "its disk takes no rows: full, read-only or away",
    "every_model_loaded": "not every model is loaded",
    "api_reached": "it does not reach the api",
    "ledger_ships": "its predictions are not shipped at present, and wait on its disk",
    "ledger_rejected_nothing": "rows are set aside",
    "ledger_retries_nothing": "rows wait to be shipped again",
    "ledger_lost_nothing": "answered rows are lost",
    "no_file_in_quarantine": "files are in quarantine",
}
"""What a check or notice of a model server means when it fails."""
_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@app.command()
def doctor() -> None:
    """Check every part of the platform and say what to do; exit 1 if something is a problem. Needs an admin key."""
    results = list(_all_checks())
    rows = [(each.part, Text(each.state, _STYLES[each.state]), each.detail, each.advice or "") for each in results]
    show(results, lambda: make_table(None, "part", "is", "found", "what to do", rows=rows))
    if any(each.state == "problem" for each in results):
        raise typer.Exit(FAILURE)


def _all_checks() -> Iterator[CheckResult]:
    yield _settings()
    yield from _key_files()
    yield from _set_aside()
    try:
        tidemill = client(_ANSWER_TIMEOUT_SECONDS)
    except TidemillError as error:
        yield _problem("api", error.detail, "Name the platform: TIDEMILL_URL and TIDEMILL_API_KEY, or --data-dir.")
        return
    with tidemill:
        yield from _certificates(tidemill)
        yield from _api(tidemill)
        yield _model_server(tidemill)


def _settings() -> CheckResult:
    try:
        load_settings()
    except TidemillError as error:
        return _problem("settings", error.detail, "Correct it; `tidemill config show` tells where each value is from.")
    return _ok("settings", "Those of this shell can be read.")


def _key_files() -> Iterator[CheckResult]:
    files = [state.data_dir / name for name in (KEY_FILE, "serving.key", "mlflow.token")]
    found = [file for file in files if file.is_file()]
    loose = [file for file in found if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    if loose:
        names = " ".join(str(file) for file in loose)
        yield _problem("key files", f"Others may read {names}.", f"chmod 600 {names}")
    elif found:
        yield _ok("key files", "Only their owner can read them.")


def _set_aside() -> Iterator[CheckResult]:
    """What `tidemill up` found damaged or foreign in the data directory of this machine, and kept."""
    folder = state.data_dir / QUARANTINE
    try:
        names = [file.name for file in islice(folder.iterdir(), _MOST_NAMES + 1)] if folder.is_dir() else []
    except OSError as error:
        yield _warning("set aside", f"{folder} cannot be read ({error.strerror}).", "Look at its owner and mode.")
        return
    if names:
        more = ", and more" if len(names) > _MOST_NAMES else ""
        found = f"{folder} keeps {', '.join(sorted(names)[:_MOST_NAMES])}{more}: damaged or foreign, and made anew."
        advice = "Look at it, revoke keys that leaked or are not used (`tidemill key list`), then remove it."
        yield _warning("set aside", found, advice)


def _api(tidemill: Tidemill) -> Iterator[CheckResult]:
    started = time.monotonic()
    try:
        answer = tidemill.health.checks()
    except Forbidden as error:
        yield _problem("api", f"It answers, but: {error.detail}", "Use a key with the scope admin.")
        return
    except TidemillError as error:
        advice = "Is it up, and its database? `docker compose ps`, `tidemill up`."
        yield _problem("api", error.detail, advice)
        return
    yield _ok("api", f"{answer.environment}; the key {answer.principal} has {', '.join(answer.scopes)}.")
    yield _version(answer)
    yield _clock(answer, time.monotonic() - started)
    yield from answer.checks


def _version(answer: HealthChecks) -> CheckResult:
    if answer.version == __version__:
        return _ok("version", f"{__version__}, here and there.")
    found = f"The api is {answer.version}, this command is {__version__}."
    return _warning("version", found, "Use the same version.")


def _clock(answer: HealthChecks, took_seconds: float) -> CheckResult:
    seconds = abs((datetime.now(UTC) - answer.checked_at).total_seconds())
    if seconds < _SKEW_SECONDS + took_seconds:
        return _ok("clock", "This machine and the api agree.")
    return _warning("clock", f"This machine and the api are {seconds:.0f} s apart.", "Let both use NTP.")


def _model_server(tidemill: Tidemill) -> CheckResult:
    try:
        found = tidemill.health.model_server_ready()
    except TidemillError as error:
        return _problem("model server", error.detail, "Look at its log; TIDEMILL_MODEL_SERVER_URL says where it is.")
    told = [_SAID.get(name, name) for name in (*found.failed, *found.noticed)]
    if found.failed:
        return _problem("model server", f"It is not ready: {'; '.join(told)}.", "Look at its disk and its log.")
    if found.noticed:
        advice = "Look at its log; `tidemill admin ledger list` there shows what is set aside."
        return _warning("model server", f"It answers, but {'; '.join(told)}.", advice)
    return _ok("model server", "It answers.")


def _certificates(tidemill: Tidemill) -> Iterator[CheckResult]:
    """Of https addresses, as this machine sees them."""
    for address in sorted(set(tidemill.health.addresses)):
        parts = urlsplit(address)
        if parts.scheme == "https" and parts.hostname:
            yield _certificate(parts.hostname, parts.port or 443)


def _certificate(host: str, port: int) -> CheckResult:
    part = f"certificate of {host}"
    context = ssl.create_default_context()
    try:
        with (
            socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            certificate = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        advice = "Install its authority (SSL_CERT_FILE), or renew the certificate."
        return _problem(part, f"Not trusted: {error.verify_message}.", advice)
    except OSError as error:
        return _problem(part, f"No TLS connection ({type(error).__name__}).", "Is Nginx up?")
    days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / 86400
    if days > _RENEW_DAYS:
        return _ok(part, f"Valid for {days:.0f} days.")
    return _warning(part, f"It expires in {days:.0f} days.", "Renew it and reload Nginx.")


def _ok(part: str, detail: str) -> CheckResult:
    return CheckResult(part=part, state="ok", detail=detail)


def _warning(part: str, detail: str, advice: str) -> CheckResult:
    return CheckResult(part=part, state="warning", detail=detail, advice=advice)


def _problem(part: str, detail: str, advice: str) -> CheckResult:
    return CheckResult(part=part, state="problem", detail=detail, advice=advice)
