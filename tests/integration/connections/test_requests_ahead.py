"""Requests that are sent before the ones in front of them are answered."""

import re
import socket

import pytest

from tests.integration.connections.server import GET, HEAD, LATER, Connect, rest, send


def test_a_few_requests_at_once_are_answered_in_their_order(connect: Connect) -> None:
    connection = connect()
    last = GET[:-2] + b"Connection: close\r\n\r\n"
    connection.sendall(b"".join(HEAD % length + b"x" * length for length in range(1, 12)) + last)
    assert re.findall(rb"\r\n\r\n(\d+)", rest(connection)) == [str(length).encode() for length in range(1, 12)]


@pytest.mark.parametrize("request_", [GET, HEAD % 3 + b"abc", GET[:-2] + b"Expect: 100-continue\r\n\r\n"], ids=range(3))
def test_requests_without_end_whose_answers_nobody_awaits_end_their_connection(
    connect: Connect, request_: bytes
) -> None:
    before = connect.answered
    connection = connect()
    send(connection, request_ * 20_000)
    rest(connection)
    connection.close()
    connect.until_open(0)
    assert connect.answered - before < 100


_BEHIND = {
    "more than may come ahead": GET * 200,
    "what is no request": b"\0\r\n\r\n",
    "an address that is none": b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
    "headers over the limit": b"GET / HTTP/1.1\r\nA: " + b"x" * 2**20,
}


@pytest.mark.parametrize("name", _BEHIND)
def test_what_came_whole_is_answered_whatever_comes_behind_it(connect: Connect, name: str) -> None:
    connection = connect()
    send(connection, HEAD % 1 + b"x" + HEAD % 3 + b"abc" + _BEHIND[name])
    _see_two_answers(connection)
    connect.until_open(0)


def test_what_came_whole_is_answered_although_the_next_headers_do_not_come(connect_quickly: Connect) -> None:
    connection = connect_quickly()
    connection.sendall(HEAD % 1 + b"x" + LATER + b"abc" + b"GET / HTTP/1.1\r\nA: ")
    _see_two_answers(connection)
    connect_quickly.until_open(0)


def _see_two_answers(connection: socket.socket) -> None:
    """And the end, which the last of them announces."""
    answer = rest(connection)
    assert re.findall(rb"\r\n\r\n(\d+)", answer) == [b"1", b"3"], answer
    assert answer.count(b"connection: close") == 1
    connection.close()


def test_a_damaged_body_behind_others_ends_the_connection(connect: Connect) -> None:
    connection = connect()
    connection.sendall(LATER + b"abc" + b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n")
    assert b"HTTP/1.1 200" not in rest(connection)
    connect.until_open(0)
