"""Which request goes where, and what is told about it."""

import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.edge.conftest import Stack
from tests.edge.nginx import ROOT
from tests.edge.upstreams import Answer

SIGNED_IN = Answer(204, (("X-Tidemill-Principal", "key_1"), ("X-Tidemill-Name", "ana"), ("X-Tidemill-Role", "Editor")))
KEY = "Bearer tm_test_secret"


def test_nginx_accepts_the_shipped_files_without_a_warning(stack: Stack) -> None:
    said = stack.edge.run("nginx", "-t")
    assert "successful" in said
    assert "[" not in said, "warnings begin with their level"
    assert "${" not in stack.edge.run("sh", "-c", "cat /etc/nginx/conf.d/*.conf /etc/nginx/conf.d/include/*.conf")


def test_every_variable_has_a_default_and_a_line_in_the_documentation() -> None:
    used = {
        name
        for template in (ROOT / "deploy" / "nginx" / "templates").rglob("*.template")
        for name in re.findall(r"\$\{TIDEMILL_EDGE_([A-Z_]+)\}", template.read_text())
    }
    script = (ROOT / "deploy" / "nginx" / "entrypoint.d" / "18-tidemill-edge.envsh").read_text()
    settable = set(re.findall(r": \"\$\{TIDEMILL_EDGE_([A-Z_]+):=", script))
    derived = set(re.findall(r"^ *TIDEMILL_EDGE_([A-Z_]+)=", script, re.MULTILINE))
    assert used <= settable | derived
    documented = Path(ROOT / "docs" / "edge.md").read_text()
    assert not [name for name in settable if not re.search(rf"`(TIDEMILL_EDGE)?_{name}`", documented)]


@pytest.mark.parametrize(
    ("method", "path", "service"),
    [
        ("POST", "/api/v1/deployments/churn/predict", "model-server"),
        ("POST", "/invocations", "model-server"),
        ("POST", "/deployments/churn/invocations", "model-server"),
        ("GET", "/ping", "model-server"),
        ("GET", "/api/v1/deployments/x/openapi.json", "model-server"),
        ("GET", "/version", "model-server"),
        ("GET", "/api/v1/deployments/churn", "api"),
        ("GET", "/api/v1/deployments/churn/status?x=1", "api"),
        ("POST", "/api/v1/feedback", "api"),
        ("GET", "/docs", "api"),
        ("GET", "/openapi.json", "api"),
        ("GET", "/swagger/start.js", "api"),
        ("GET", "/sign-in?next=%2Fmlflow%2F", "api"),
        ("POST", "/sign-out", "api"),
        ("GET", "/livez", "api"),
        ("GET", "/readyz?verbose", "api"),
    ],
)
def test_a_route_goes_where_it_should(stack: Stack, client: httpx.Client, method: str, path: str, service: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["x-upstream"]) == (200, service)
    assert stack.all(service) == [f"{method} {path}"]


@pytest.mark.parametrize(
    "path",
    [
        "/metrics", "/metrics/", "/METRICS", "//metrics", "/%6detrics", "/api/../metrics", "/mlflow/metrics",
        "/grafana/metrics", "/mlflow/ajax-api/3.0/mlflow/assistant", "/mlflow/ajax-api/3.0/mlflow/assistant/sessions",
        "/mlflow//ajax-api/3.0/mlflow/Assistant/x", "/mlflow/ajax-api/3.0/mlflow/%61ssistant/x",
        "/mlflow/x/../ajax-api/3.0/mlflow/assistant/x", "/mlflow/ajax-api%2F3.0/mlflow/assistant",
    ],
)  # fmt: skip
def test_figures_and_mlflows_assistant_are_closed(stack: Stack, client: httpx.Client, path: str) -> None:
    stack.upstreams["api"][0].behaviour = stack.upstreams["api"][1].behaviour = lambda _seen: SIGNED_IN
    target = httpx.URL(stack.edge.url).copy_with(raw_path=path.encode())
    answer = client.get(target, headers={"Authorization": KEY})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert not stack.all("api") + stack.all("mlflow") + stack.all("grafana")


@pytest.mark.parametrize(
    ("profiles", "target"), [("", "127.0.0.1:9"), ("exporters", "127.0.0.1:9"), ("a,dashboards", "grafana:3000")]
)
def test_grafana_is_where_the_stacks_profiles_say(profiles: str, target: str) -> None:
    file = ROOT / "deploy" / "nginx" / "entrypoint.d" / "18-tidemill-edge.envsh"
    read = f'. {file}; printf %s "$TIDEMILL_EDGE_GRAFANA"'
    environment = {"TIDEMILL_EDGE_PROFILES": profiles, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", read], env=environment, capture_output=True, text=True, timeout=10, check=True)
    assert done.stdout == target


def test_the_root_leads_to_the_sign_in(client: httpx.Client) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (302, "/sign-in")
    assert client.get("/mlflow").headers["location"] == "/mlflow/"


def test_the_callers_address_cannot_be_forged(stack: Stack, client: httpx.Client) -> None:
    forged = {"X-Forwarded-For": "10.1.1.1", "X-Real-IP": "10.1.1.1", "Forwarded": "for=10.1.1.1"}
    claims = {"X-Tidemill-Principal": "key_admin", "X-Tidemill-Name": "root", "X-Tidemill-Role": "Admin"}
    host = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    for path in ("/api/v1/jobs", "/ping"):
        answer = client.get(path, headers={**forged, **claims, **host})
    for service in ("api", "model-server"):
        (seen,) = [seen for one in stack.upstreams[service] for seen in one.seen]
        assert seen.headers["x-forwarded-for"] == seen.headers["x-real-ip"] == "127.0.0.1"
        assert (seen.headers["x-forwarded-proto"], "evil" in str(seen.headers)) == ("https", False)
        assert not [name for name in seen.headers if name.startswith("x-tidemill") or name == "forwarded"]
    assert {line["client"] for line in stack.edge.access_log(answer.headers["x-request-id"])} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("presented", "kept"),
    [("caller-0001", True), ("a" * 128, True), ("short", False), ("a" * 129, False), ('x"},{"injected', False)],
)
def test_a_request_id_is_kept_if_it_is_well_formed(
    stack: Stack, client: httpx.Client, presented: str, kept: bool
) -> None:
    answer = client.get("/api/v1/jobs", headers={"X-Request-Id": presented})
    given = answer.headers["x-request-id"]
    assert (given == presented) is kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{8,128}", given)
    (seen,) = [seen for one in stack.upstreams["api"] for seen in one.seen]
    assert seen.headers["x-request-id"] == given
    assert stack.edge.access_log(given)[-1]["request_id"] == given


def test_the_log_holds_neither_queries_nor_keys(stack: Stack, client: httpx.Client) -> None:
    headers = {"Authorization": KEY, "Cookie": "a=secret"}
    answer = client.get('/api/v1/jobs/"quoted"?token=secret', headers=headers)
    line = stack.edge.access_log(answer.headers["x-request-id"])[-1]
    assert (line["path"], line["status"], line["level"]) == ("/api/v1/jobs/%22quoted%22", 200, "info")
    assert line["service"] == "nginx"
    assert "secret" not in str(line)


def test_answers_carry_security_headers_and_a_pages_own_policy_is_kept(stack: Stack, client: httpx.Client) -> None:
    for upstream in stack.upstreams["api"]:
        upstream.behaviour = lambda seen: Answer(
            headers=(("X-Powered-By", "x"), ("X-Frame-Options", "ALLOW"), ("Server", "old"))
            + ((("Content-Security-Policy", "default-src 'self'"),) if seen.target == "/docs" else ())
        )
    for path in ("/api/v1/jobs", "/docs", "/metrics"):
        headers = client.get(path).headers
        assert headers["strict-transport-security"] == "max-age=31536000"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["server"] == "nginx"
        assert "x-powered-by" not in headers
        expected = "default-src 'self'" if path == "/docs" else "default-src 'none'; base-uri 'none'"
        assert headers["content-security-policy"].startswith(expected)
        assert len(headers.get_list("content-security-policy")) == 1


def test_the_status_page_is_on_its_own_port(stack: Stack) -> None:
    own = f"http://127.0.0.1:{stack.edge.status_port}"
    assert "Active connections" in httpx.get(f"{own}/status").text
    assert httpx.get(f"{own}/api/v1/jobs").status_code == 404
