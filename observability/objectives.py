"""Objectives, and the recording rules that measure how far they are missed.

An objective says which share of requests is to be good within 30 days; the rest is its error budget. Each rule gives
the share of requests that were not good over one window, so that an alert can ask for a long and a short one at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
_QUICK_WINDOWS = ("5m", "30m", "1h")
"""The others change slowly and are read from more samples, so they are evaluated less often."""


@dataclass(frozen=True)
class Objective:
    """``bad`` and ``all`` are PromQL with ``WINDOW`` where the window goes."""

    name: str
    target: float
    bad: str
    all: str

    def ratio(self, window: str) -> str:
        """Bad requests over all requests; absent while there is nothing to judge, 0 while nothing is bad."""
        bad, everything = (text.replace("WINDOW", window) for text in (self.bad, self.all))
        return f"(sum({bad}) or vector(0)) / (sum({everything}) > 0)"


_PREDICTIONS = 'job="model-server",route=~".*/predict|.*/invocations|/invocations"'
_API = 'job="api",route!~"/livez|/readyz|/metrics|unmatched"'
_API_QUICK = 'job="api",route!~"/livez|/readyz|/metrics|unmatched|.*/(events|versions|files|segments)|.*/bundles/.*"'


def _availability(name: str, target: float, selector: str) -> Objective:
    requests = "tidemill_http_requests_total"
    return Objective(
        name=name,
        target=target,
        bad=f'rate({requests}{{{selector},status=~"5.."}}[WINDOW])',
        all=f"rate({requests}{{{selector}}}[WINDOW])",
    )


def _latency(name: str, target: float, selector: str, seconds: str) -> Objective:
    duration = "tidemill_http_request_duration_seconds"
    everything = f"rate({duration}_count{{{selector}}}[WINDOW])"
    quick = f'rate({duration}_bucket{{{selector},le="{seconds}"}}[WINDOW])'
    return Objective(name=name, target=target, bad=f"{everything}) - sum({quick}", all=everything)


OBJECTIVES = (
    _availability("predictions-availability", 0.999, _PREDICTIONS),
    _latency("predictions-latency", 0.99, _PREDICTIONS, "0.25"),
    _availability("api-availability", 0.995, _API),
    _latency("api-latency", 0.95, _API_QUICK, "1.0"),
)


def rules() -> dict[str, Any]:
    """The content of ``rules/objectives.yml``."""
    slow = [window for window in WINDOWS if window not in _QUICK_WINDOWS]
    return {
        "groups": [
            {"name": "objectives-quick", "rules": [*_budgets(), *_ratios(_QUICK_WINDOWS)]},
            {"name": "objectives-slow", "interval": "1m", "rules": list(_ratios(slow))},
        ]
    }


def _budgets() -> Iterator[dict[str, Any]]:
    for objective in OBJECTIVES:
        yield {
            "record": "tidemill:slo_budget:ratio",
            "expr": f"vector({round(1 - objective.target, 6)})",
            "labels": {"objective": objective.name},
        }


def _ratios(windows: list[str] | tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for objective in OBJECTIVES:
        for window in windows:
            yield {
                "record": f"tidemill:slo_errors:ratio_rate{window}",
                "expr": objective.ratio(window),
                "labels": {"objective": objective.name},
            }
