"""What a PromQL expression reads, as a real Prometheus understands it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Reading:
    """Metrics with the labels that their selectors name, and labels that the expression groups or joins by."""

    selected: dict[str, set[str]] = field(default_factory=dict)
    grouped: set[str] = field(default_factory=set)


def read(prometheus: str, expr: str) -> Reading:
    """Parse ``expr``; fails the test when Prometheus cannot."""
    answer = httpx.post(f"{prometheus}/api/v1/parse_query", data={"query": expr}, timeout=10)
    assert answer.status_code == 200, f"{expr}: {answer.text}"
    return reading_of(answer.json()["data"])


def reading_of(tree: Any) -> Reading:
    """Of an expression as Prometheus parsed it."""
    reading = Reading()
    for node in _nodes(tree):
        if node.get("type") in ("vectorSelector", "matrixSelector"):
            names = {matcher["name"]: matcher["value"] for matcher in node.get("matchers", [])}
            metric = node.get("name") or names["__name__"]
            reading.selected.setdefault(metric, set()).update(set(names) - {"__name__"})
        reading.grouped |= set(node.get("grouping") or [])
        reading.grouped |= set((node.get("matching") or {}).get("labels") or [])
    return reading


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from _nodes(child)
    elif isinstance(value, list):
        for child in value:
            yield from _nodes(child)
