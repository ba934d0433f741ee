"""Nginx with the shipped files in front of servers that remember what reached them. Needs Docker and ``nginx:1.30``."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.edge.names import Names
from tests.edge.nginx import Edge
from tests.edge.upstreams import Upstream
from tests.integration.conftest import live_api, make_key, mlflow, settings  # noqa: F401 - fixtures
from tests.integration.mlflow_server import mlflow_server  # noqa: F401 - a fixture
from tests.integration.serving.conftest import models  # noqa: F401 - a fixture
from tests.ports import free_port

SERVICES = {"api": 2, "model-server": 2, "mlflow": 1, "grafana": 1}
MakeEdge = Callable[..., Edge]


@dataclass
class Stack:
    """An edge and what is behind it; ``upstreams["api"]`` are the replicas of the api."""

    edge: Edge
    upstreams: dict[str, list[Upstream]]

    def all(self, service: str) -> list[str]:
        """Method and target of every request that a service got."""
        return [f"{seen.method} {seen.target}" for one in self.upstreams[service] for seen in one.seen]


@pytest.fixture(scope="session")
def services() -> Iterator[dict[str, list[Upstream]]]:
    """Replicas have addresses of their own and one port, as in containers."""
    made: dict[str, list[Upstream]] = {}
    for number, (name, count) in enumerate(SERVICES.items(), start=1):
        port = free_port()
        made[name] = [Upstream(f"127.0.{number}.{place + 1}", port, name) for place in range(count)]
    yield made
    twice = {name: upstream.sent_twice for name, replicas in made.items() for upstream in replicas}
    for replicas in made.values():
        for upstream in replicas:
            upstream.close()
    assert not any(twice.values()), f"headers that a server got twice: {twice}"


@pytest.fixture(scope="session")
def names(services: dict[str, list[Upstream]]) -> Iterator[Names]:
    names = Names({f"{name}.test": [one.address for one in replicas] for name, replicas in services.items()})
    yield names
    names.close()


@pytest.fixture(scope="session")
def make_edge(
    services: dict[str, list[Upstream]], names: Names, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeEdge]:
    """``make_edge(API_RATE="5r/s")`` starts one with these variables."""
    made: list[Edge] = []

    def make(**variables: str) -> Edge:
        targets = {
            name.upper().replace("-", "_"): f"{name}.test:{replicas[0].port}" for name, replicas in services.items()
        }
        edge = Edge(tmp_path_factory.mktemp("edge"), {"RESOLVER": names.address, **targets, **variables})
        made.append(edge)
        edge.start()
        return edge

    yield make
    for edge in made:
        edge.stop()


@pytest.fixture(scope="session")
def plain_edge(make_edge: MakeEdge) -> Edge:
    """With limits that no test here meets."""
    return make_edge(API_RATE="10000r/s", API_BURST="10000", SIGN_IN_RATE="10000r/s", SIGN_IN_BURST="1000")


@pytest.fixture
def stack(plain_edge: Edge, services: dict[str, list[Upstream]]) -> Iterator[Stack]:
    yield Stack(plain_edge, services)
    for replicas in services.values():
        for upstream in replicas:
            upstream.forget()


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with stack.edge.client() as client:
        yield client
