"""The sign-in page: plain HTML that needs no script, no other file and no network."""

import base64
import hashlib
from collections.abc import Sequence
from html import escape

from fastapi.responses import HTMLResponse

from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.features.sessions.service import consoles_of

_STYLE = """
:root { color-scheme: light dark; --ink: #14242e; --paper: #fff; --ground: #eef3f5; --line: #7a8b95; --accent: #0b5c78;
  --accent-ink: #fff; --wrong: #a3161b; --wrong-ground: #fdecec; --quiet: #48606d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eef2; --paper: #16242c; --ground: #0d171d; --line: #8296a1;
  --accent: #7cc7e2; --accent-ink: #06222e; --wrong: #ffb3b0; --wrong-ground: #3a1617; --quiet: #a9bcc6; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--ground);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { width: 100%; max-width: 26rem; padding: 2rem; background: var(--paper); border-radius: .75rem;
  box-shadow: 0 1px 3px rgb(0 0 0 / .2); }
.name { margin: 0 0 .25rem; color: var(--quiet); font-weight: 600; letter-spacing: .02em; }
h1 { margin: 0 0 1.25rem; font-size: 1.5rem; line-height: 1.25; }
label { display: block; font-weight: 600; }
.hint { margin: 0 0 .5rem; color: var(--quiet); font-size: .9rem; }
input { width: 100%; padding: .65rem .75rem; font: inherit; color: inherit; background: transparent;
  border: 1px solid var(--line); border-radius: .4rem; }
button { margin-top: 1.25rem; width: 100%; padding: .7rem; font: inherit; font-weight: 600; color: var(--accent-ink);
  background: var(--accent); border: 1px solid transparent; border-radius: .4rem; cursor: pointer; }
input:focus-visible, button:focus-visible, a:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.wrong { margin: 0 0 1.25rem; padding: .65rem .75rem; color: var(--wrong); background: var(--wrong-ground);
  border-left: 4px solid currentcolor; border-radius: .25rem; }
ul { margin: 0; padding: 0; list-style: none; }
li { border-top: 1px solid color-mix(in srgb, var(--line) 40%, transparent); }
li a { display: block; padding: .65rem 0; color: var(--accent); font-weight: 600; }
li span { display: block; color: var(--quiet); font-weight: 400; font-size: .9rem; }
"""
_STYLE_SHA256 = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_SHA256}'; img-src data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_CONSOLES = {
    Scope.MLFLOW_READ: ("/mlflow/", "MLflow", "Runs, metrics and models"),
    Scope.DASHBOARDS_READ: ("/grafana/", "Grafana", "Dashboards and logs"),
}
_DOCUMENTATION = ("/docs", "API", "Every route, to read and to try")


def sign_in_page(back_to: str | None, wrong: str | None = None, status: int = 200) -> HTMLResponse:
    """The form. ``back_to`` is a checked path; ``wrong`` says what was wrong with the last attempt."""
    alert = f'<p class="wrong" role="alert" id="wrong">{escape(wrong)}</p>' if wrong else ""
    described = "hint wrong" if wrong else "hint"
    invalid = ' aria-invalid="true"' if wrong else ""
    hidden = f'<input type="hidden" name="next" value="{escape(back_to)}">' if back_to else ""
    body = f"""<h1>Sign in</h1>
{alert}<form method="post" action="/sign-in">
{hidden}<label for="key">API key</label>
<p class="hint" id="hint">It begins with <code>tm_</code>. An administrator makes one with
<code>tidemill key create</code>.</p>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus spellcheck="false"
 maxlength="512" aria-describedby="{described}"{invalid}>
<button>Sign in</button>
</form>"""
    return _page("Sign in", body, status)


def signed_in_page(principal: Principal) -> HTMLResponse:
    """Where to go, and the way out."""
    places = [*(_CONSOLES[scope] for scope in consoles_of(principal)), _DOCUMENTATION]
    body = f"""<h1>Signed in as {escape(principal.name)}</h1>
<nav aria-label="Consoles"><ul>
{_links(places)}
</ul></nav>
<form method="post" action="/sign-out"><button>Sign out</button></form>"""
    return _page("Signed in", body, 200)


def _links(places: Sequence[tuple[str, str, str]]) -> str:
    return "\n".join(f'<li><a href="{path}">{name}<span>{what}</span></a></li>' for path, name, what in places)


def _page(title: str, body: str, status: int) -> HTMLResponse:
    content = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - Tidemill</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<main>
<p class="name">Tidemill</p>
{body}
</main>
</body>
</html>
"""
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
    return HTMLResponse(content, status, headers=headers)
