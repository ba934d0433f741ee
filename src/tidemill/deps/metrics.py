"""What the api takes in, counted: feedback and the ledger."""

from typing import Annotated

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry, Counter

from tidemill.schemas.feedback import FeedbackCounts
from tidemill.schemas.serving import SegmentReceipt


class IntakeMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._feedback = Counter(
            "tidemill_feedback_rows_total",
            "Rows of feedback: accepted, duplicate (changed nothing) or skipped (no truth).",
            ("outcome",),
            registry=registry,
        )
        self._revisions = Counter(
            "tidemill_feedback_revisions_total", "Truths that replaced an earlier, different one.", registry=registry
        )
        self._unmatched = Counter(
            "tidemill_feedback_unmatched_total",
            "Rows of feedback whose prediction was not in the ledger when they came.",
            registry=registry,
        )
        self._ledger = Counter(
            "tidemill_ledger_rows_total",
            "Rows that model servers shipped: stored, duplicate or rejected.",
            ("outcome",),
            registry=registry,
        )

    def took_feedback(self, counts: FeedbackCounts) -> None:
        self._feedback.labels("accepted").inc(counts.accepted)
        self._feedback.labels("duplicate").inc(counts.duplicates)
        self._feedback.labels("skipped").inc(counts.skipped)
        self._revisions.inc(counts.revisions)
        self._unmatched.inc(counts.unmatched)

    def took_segment(self, receipt: SegmentReceipt) -> None:
        self._ledger.labels("stored").inc(receipt.stored)
        self._ledger.labels("duplicate").inc(receipt.duplicates)
        self._ledger.labels("rejected").inc(len(receipt.rejected))


def get_intake_metrics(request: Request) -> IntakeMetrics:
    metrics = request.app.state.intake_metrics
    assert isinstance(metrics, IntakeMetrics)
    return metrics


IntakeMetricsDep = Annotated[IntakeMetrics, Depends(get_intake_metrics)]
