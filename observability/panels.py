"""Dashboards as typed values, and what Grafana wants to read of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

PROMETHEUS = {"type": "prometheus", "uid": "${prometheus}"}
LOKI = {"type": "loki", "uid": "loki"}
_SCHEMA_VERSION = 41
_COLUMNS = 24
_HEIGHT = 8

Unit = Literal["short", "reqps", "s", "percentunit", "bytes", "ops", "rowsps", "none", "dateTimeFromNow"]
Kind = Literal["timeseries", "stat", "logs", "state-timeline"]
Color = Literal["green", "yellow", "red"]


@dataclass(frozen=True)
class Query:
    """``expr`` in PromQL or, in a panel of logs, LogQL; ``legend`` names the labels to show, as ``{{queue}}``."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One picture. ``steps``: from which value on which color holds, the first one from minus infinity."""

    title: str
    description: str
    queries: Sequence[Query]
    unit: Unit = "short"
    kind: Kind = "timeseries"
    steps: Mapping[float, Color] = field(default_factory=dict)
    width: int = 8
    height: int = _HEIGHT
    logs_of: str | None = None
    """The service whose logs a click on a point leads to, of the same span of time."""
    loki: bool = False
    stacked: bool = False
    maximum: float | None = None

    @property
    def datasource(self) -> dict[str, str]:
        return LOKI if self.loki else PROMETHEUS

    def as_json(self, number: int, place: tuple[int, int]) -> dict[str, Any]:
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": self.datasource,
            "gridPos": {"x": place[0], "y": place[1], "w": self.width, "h": self.height},
            "targets": [self._target(index, query) for index, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": self._options(),
        }

    def _target(self, index: int, query: Query) -> dict[str, Any]:
        target: dict[str, Any] = {
            "refId": chr(ord("A") + index),
            "expr": query.expr,
            "legendFormat": query.legend or "__auto",
            "datasource": self.datasource,
        }
        if self.kind == "stat":
            target["instant"] = True
        return target

    def _defaults(self) -> dict[str, Any]:
        defaults: dict[str, Any] = {"unit": self.unit, "min": 0, "links": self._links()}
        if self.unit in ("none", "dateTimeFromNow"):
            del defaults["min"]
        if self.maximum is not None:
            defaults["max"] = self.maximum
        if self.steps:
            steps: list[dict[str, Any]] = [{"value": None, "color": "green"}] if float("-inf") not in self.steps else []
            steps += [
                {"value": None if at == float("-inf") else at, "color": color} for at, color in self.steps.items()
            ]
            defaults["thresholds"] = {"mode": "absolute", "steps": steps}
            defaults["color"] = {"mode": "thresholds" if self.kind == "stat" else "palette-classic"}
        if self.kind == "timeseries":
            defaults["custom"] = self._lines()
        return defaults

    def _lines(self) -> dict[str, Any]:
        lines: dict[str, Any] = {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": 120000}
        if self.stacked:
            lines |= {"stacking": {"mode": "normal"}, "fillOpacity": 30}
        if self.steps:
            lines["thresholdsStyle"] = {"mode": "dashed"}
        return lines

    def _links(self) -> list[dict[str, Any]]:
        if self.logs_of is None:
            return []
        span = "from=${__from}&to=${__to}"
        url = f"/grafana/d/tidemill-logs/logs?var-service={self.logs_of}&{span}"
        return [{"title": f"Logs of {self.logs_of}", "url": url, "targetBlank": False}]

    def _options(self) -> dict[str, Any]:
        if self.kind == "logs":
            return {"showTime": True, "wrapLogMessage": True, "enableLogDetails": True, "sortOrder": "Descending"}
        if self.kind == "stat":
            return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none"}
        if self.kind == "state-timeline":
            return {"showValue": "auto", "mergeValues": True}
        return {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }


@dataclass(frozen=True)
class Row:
    """Panels under one heading, set from left to right."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Variable:
    """A choice at the top of a dashboard. ``query`` empty: a text that people type."""

    name: str
    label: str
    query: str = ""
    loki: bool = False

    def as_json(self) -> dict[str, Any]:
        if not self.query:
            return {"type": "textbox", "name": self.name, "label": self.label, "query": "", "current": {"value": ""}}
        return {
            "type": "query",
            "name": self.name,
            "label": self.label,
            "datasource": LOKI if self.loki else PROMETHEUS,
            "query": self.query if not self.loki else {"type": 1, "label": self.query, "stream": ""},
            "definition": self.query,
            "refresh": 2,
            "sort": 1,
            "includeAll": True,
            "multi": True,
            "allValue": ".+",
            "current": {"text": "All", "value": "$__all"},
        }


_ENVIRONMENT = {
    "type": "datasource",
    "name": "prometheus",
    "label": "Environment",
    "query": "prometheus",
    "current": {"text": "Prometheus", "value": "prometheus"},
}
"""Each environment has a Prometheus of its own; a Grafana that knows several of them lets people choose."""


@dataclass(frozen=True)
class Dashboard:
    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[Variable] = ()

    def panels(self) -> list[Panel]:
        return [panel for row in self.rows for panel in row.panels]

    def as_json(self) -> dict[str, Any]:
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["tidemill"],
            "schemaVersion": _SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"},
            "timezone": "utc",
            "templating": {"list": [_ENVIRONMENT, *(variable.as_json() for variable in self.variables)]},
            "links": [
                {
                    "type": "dashboards",
                    "title": "Dashboards",
                    "tags": ["tidemill"],
                    "asDropdown": True,
                    "keepTime": True,
                }
            ],
            "panels": self._placed(),
        }

    def _placed(self) -> list[dict[str, Any]]:
        placed: list[dict[str, Any]] = []
        top = 0
        for row in self.rows:
            position = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
            heading = {"type": "row", "title": row.title, "collapsed": False, "panels": [], "gridPos": position}
            placed.append({"id": len(placed) + 1, **heading})
            top = _place_row(row, top + 1, placed)
        return placed


def _place_row(row: Row, top: int, placed: list[dict[str, Any]]) -> int:
    """Append the panels of ``row``; where the next row begins."""
    left = height = 0
    for panel in row.panels:
        if left + panel.width > _COLUMNS:
            left, top, height = 0, top + height, 0
        placed.append(panel.as_json(len(placed) + 1, (left, top)))
        left, height = left + panel.width, max(height, panel.height)
    return top + height
