"""What training noticed about the data: shown to people, stored with the version, weighed by the gate."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """``code`` is stable; ``columns`` are the places; ``detail`` is one sentence without data values.

    A finding of severity ``error`` keeps the version from becoming champion.
    """

    code: str
    severity: Severity
    detail: str
    columns: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        return {"code": self.code, "severity": self.severity, "detail": self.detail, "columns": list(self.columns)}
