"""A monitoring report for the terminal."""

from collections.abc import Iterator
from datetime import timedelta

from rich.table import Table
from rich.text import Text

from tidemill.cli.context import cell_text, make_table
from tidemill.schemas.monitoring import CountInterval, Interval, LiveMetric, Quantiles, Report, Slice

_DAYS_SHOWN = 31
_CLASSES_SHOWN = 10
_SAID = {
    "within": ("within", "green", ": as good as on the holdout"),
    "above": ("above", "green", ": measurably better than on the holdout"),
    "no_holdout": ("-", "dim", ""),
}


def report_parts(report: Report) -> Iterator[Table | Text | str]:
    """Everything a person needs to see of ``report``, from the whole to the parts."""
    content = report.content
    span = f"  {_minute(report.since)} to {_minute(report.until)} UTC  "
    yield Text.assemble((report.deployment, "bold"), span, (report.id, "dim"))
    yield _counts(report)
    yield from (_styled("Note:", "yellow", f" {note}") for note in content.notes)
    if len(content.versions) != 1:
        yield from _slice_parts("All versions", content.total)
    for version in content.versions:
        yield from _slice_parts(f"{version.model_name}:{version.model_version}", version)


def _minute(moment: object) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _counts(report: Report) -> Table:
    counts = report.content.counts
    names = ("predictions", "looked at", "with truth", "coverage", "unmatched feedback", "revisions")
    coverage = f"{_percent(counts.coverage_percent)}%"
    row = (
        counts.predictions,
        counts.rows_read,
        _count(counts.labelled, counts.labelled_interval),
        coverage,
        counts.unmatched_feedback,
        counts.revisions,
    )
    return make_table(None, *names, rows=[row])


def _slice_parts(title: str, part: Slice) -> Iterator[Table | Text | str]:
    yield ""
    known = _count(part.labelled, part.labelled_interval)
    labelled = f"  {known} of {part.predictions} with truth ({_percent(part.coverage_percent)}%)"
    yield _styled(title, "bold", labelled)
    if part.metrics:
        yield _metrics(part)
    yield from (_styled("Note:", "yellow", f" {note}") for note in part.notes)
    if part.invalid_truths:
        invalid = _count(part.invalid_truths, part.invalid_truths_interval)
        told = f" {invalid} truths are none that this model could have predicted."
        yield _styled("Note:", "yellow", told)
    if part.predictions:
        yield _styled("Labelled rows:", "dim", f" {part.representativeness.detail}")
    if part.label_delay_seconds is not None:
        yield _styled("Label delay:", "dim", f" {_delays(part.label_delay_seconds)}")
    if part.distribution.classes:
        yield _classes(part)
    if part.days:
        yield _days(part)


def _metrics(part: Slice) -> Table:
    """The main metric first; without anything to compare with, only the live values."""
    ordered = sorted(part.metrics, key=lambda found: found.name != part.metric)
    if not any(found.holdout for found in ordered):
        return make_table(None, "metric", "live", rows=[(found.name, _interval(found.live)) for found in ordered])
    rows = [
        (found.name, _interval(found.live), _interval(found.holdout), _interval(found.difference), _verdict(found))
        for found in ordered
    ]
    return make_table(None, "metric", "live", "holdout", "difference", "", rows=rows)


def _interval(interval: Interval | None) -> str | None:
    if interval is None:
        return None
    if interval.low is None or interval.high is None:
        return f"{interval.value:.4g}"
    return f"{interval.value:.4g} [{interval.low:.4g}, {interval.high:.4g}]"


def _count(count: int, interval: CountInterval | None) -> str:
    """A count, and that it is an estimate where it was scaled from a sample."""
    return str(count) if interval is None else f"about {count} [{interval.low}, {interval.high}]"


def _percent(percent: float) -> str:
    """Small ones to their figures: 0.0025 is not 0."""
    return cell_text(percent) if percent == 0 or percent >= 0.01 else f"{percent:.3g}"


def _verdict(metric: LiveMetric) -> Text:
    if metric.verdict in _SAID:
        return _styled(*_SAID[metric.verdict])
    if metric.verdict == "below":
        slight = metric.difference and abs(metric.difference.value) <= (metric.tolerance or 0)
        return _styled(
            "below", "bold red", f": measurably {'but slightly ' if slight else ''}worse than on the holdout"
        )
    if metric.labels_needed is None:
        return _styled("not decided", "yellow", ": the holdout's own interval is too wide")
    return _styled("not enough labels", "yellow", f": about {metric.labels_needed} needed")


def _styled(word: str, style: str, rest: str) -> Text:
    return Text.assemble((word, style), rest)


def _delays(delays: Quantiles) -> str:
    named = (("median", delays.p50), ("95%", delays.p95), ("longest", delays.maximum))
    return ", ".join(f"{name} {timedelta(seconds=round(seconds))}" for name, seconds in named)


def _classes(part: Slice) -> Table:
    classes = part.distribution.classes or []
    rows = [
        (
            found.label,
            _count(found.predicted, found.predicted_interval),
            _count(found.observed, found.observed_interval),
        )
        for found in classes[:_CLASSES_SHOWN]
    ]
    return make_table(None, "class", "predicted", "observed", rows=rows)


def _days(part: Slice) -> Table:
    rows = [
        (day.day, day.predictions, _count(day.labelled, day.labelled_interval), _interval(day.metric))
        for day in part.days[-_DAYS_SHOWN:]
    ]
    return make_table(None, "day", "predictions", "with truth", part.metric or "metric", rows=rows)
