"""TLS, plain HTTP, certificates and their renewal."""

import socket
import ssl
import threading
import time

import httpx
import pytest

from tests.edge.conftest import MakeEdge, Stack
from tests.edge.nginx import make_certificate


def handshake(stack: Stack, version: ssl.TLSVersion, protocols: list[str] | None = None) -> ssl.SSLSocket:
    context = stack.edge.trust()
    context.minimum_version = context.maximum_version = version
    if version < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if protocols:
        context.set_alpn_protocols(protocols)
    plain = socket.create_connection(("127.0.0.1", stack.edge.port), timeout=10)
    return context.wrap_socket(plain, server_hostname="localhost")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_modern_versions_are_spoken_with_forward_secrecy_and_http2(stack: Stack, version: ssl.TLSVersion) -> None:
    with handshake(stack, version, ["h2", "http/1.1"]) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        cipher = connection.cipher()
        assert cipher is not None
        assert cipher[0].startswith(("ECDHE-", "TLS_"))
        assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(stack: Stack, version: ssl.TLSVersion) -> None:
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        handshake(stack, version)


def test_a_weak_cipher_is_refused(stack: Stack) -> None:
    context = stack.edge.trust()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA:ECDHE-ECDSA-AES128-SHA")
    with socket.create_connection(("127.0.0.1", stack.edge.port), timeout=10) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="localhost")


def test_plain_http_leads_to_https_and_answers_challenges(stack: Stack) -> None:
    plain = f"http://localhost:{stack.edge.http_port}"
    answer = httpx.post(f"{plain}/api/v1/jobs?a=1")
    assert (answer.status_code, answer.headers["location"]) == (308, f"{stack.edge.url}/api/v1/jobs?a=1")
    challenge = stack.edge.acme / ".well-known" / "acme-challenge" / "token"
    challenge.write_text("token.thumbprint")
    assert httpx.get(f"{plain}/.well-known/acme-challenge/token").text == "token.thumbprint"
    assert httpx.get(f"{plain}/.well-known/acme-challenge/other").status_code == 404
    spoken_to_tls = httpx.get(f"http://localhost:{stack.edge.port}/x")
    assert (spoken_to_tls.status_code, spoken_to_tls.headers["location"]) == (308, f"{stack.edge.url}/x")


def test_a_renewed_certificate_is_taken_up_without_a_lost_request(make_edge: MakeEdge) -> None:
    edge = make_edge(CERTIFICATE_CHECK_SECONDS="1", API_RATE="10000r/s", API_BURST="10000")
    statuses: list[int] = []
    done = threading.Event()
    no_check = ssl.create_default_context()
    no_check.check_hostname, no_check.verify_mode = False, ssl.CERT_NONE

    def ask() -> None:
        while not done.is_set():
            statuses.append(httpx.get(f"{edge.url}/api/v1/jobs", verify=no_check).status_code)

    thread = threading.Thread(target=ask)
    thread.start()
    old = ssl.get_server_certificate(("localhost", edge.port))
    (edge.certificates / "key.pem").write_text("half a pair")
    make_certificate(edge.certificates)
    deadline = time.monotonic() + 30
    while ssl.get_server_certificate(("localhost", edge.port)) == old:
        assert time.monotonic() < deadline, edge.logs()
        time.sleep(0.05)
    done.set()
    thread.join(30)
    assert len(statuses) > 10
    assert set(statuses) == {200}
