"""How a check says what it found."""

from datetime import timedelta

from tidemill.schemas.health import CheckResult


def ok(part: str, detail: str) -> CheckResult:
    return CheckResult(part=part, state="ok", detail=detail)


def warning(part: str, detail: str, advice: str) -> CheckResult:
    """Something to look at; the platform does its work."""
    return CheckResult(part=part, state="warning", detail=detail, advice=advice)


def problem(part: str, detail: str, advice: str) -> CheckResult:
    """Something does not work, or soon will not."""
    return CheckResult(part=part, state="problem", detail=detail, advice=advice)


def age_text(age: timedelta) -> str:
    """Such as ``3.5 hours``."""
    hours = age.total_seconds() / 3600
    if hours < 1:
        return f"{max(hours, 0) * 60:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.0f} days"
