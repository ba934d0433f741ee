"""A server of each event loop, whose limits of time are far or near."""

from collections.abc import Iterator

import pytest

from tests.integration.connections.server import PATIENT, QUICK, Connect, serving_with


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def serving(request: pytest.FixtureRequest) -> Iterator[Connect]:
    with serving_with(request.param, PATIENT) as connect:
        yield connect


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def serving_quickly(request: pytest.FixtureRequest) -> Iterator[Connect]:
    with serving_with(request.param, QUICK) as connect:
        yield connect


@pytest.fixture
def connect(serving: Connect) -> Connect:
    """The server without any connection."""
    return _without_connections(serving)


@pytest.fixture
def connect_quickly(serving_quickly: Connect) -> Connect:
    """A server whose limits of time are over soon, without any connection."""
    return _without_connections(serving_quickly)


def _without_connections(connect: Connect) -> Connect:
    while connect.made:
        connect.made.pop().close()
    connect.until_open(0)
    return connect
