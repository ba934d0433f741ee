"""Feedback: telling the platform what turned out to be true."""

import itertools
from collections.abc import Iterable, Iterator, Mapping

from tidemill.client.transport import Content, Transport
from tidemill.kit.labels import Label
from tidemill.schemas.feedback import MAX_ITEMS, FeedbackCounts, FeedbackFileQuery, FeedbackItem

Told = FeedbackItem | tuple[str, Label]


class Feedback:
    """``tidemill.feedback``: what turned out to be true about predictions."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def push(self, deployment: str | None, truths: Mapping[str, Label] | Iterable[Told]) -> FeedbackCounts:
        """Attach truths to predictions.

        Args:
            deployment: truths about another deployment's predictions are refused; None takes those of all.
            truths: prediction id to truth, or pairs of them, or items with their own ``observed_at``. Any number: they
                are sent in batches.

        Raises Invalid, naming the items of one batch, if one is malformed or cannot be a truth of its model; that batch
        is not stored. Pushing again counts nothing twice, but two truths for one prediction replace each other again.
        """
        total = FeedbackCounts()
        for batch in _batches(_items(truths)):
            body = {"deployment": deployment, "items": [item.model_dump(mode="json") for item in batch]}
            answer = self._transport.request("POST", "/api/v1/feedback", json=body)
            total = total.plus(FeedbackCounts.model_validate(answer))
        return total

    def upload(self, content: Content, media_type: str, query: FeedbackFileQuery | None = None) -> FeedbackCounts:
        """Stream a file, ``text/csv`` or ``application/x-ndjson``. Raises Invalid naming rows and columns."""
        params = (query or FeedbackFileQuery()).model_dump(exclude_none=True)
        headers = {"Content-Type": media_type}
        answer = self._transport.request(
            "POST", "/api/v1/feedback/files", params=params, content=content, headers=headers
        )
        return FeedbackCounts.model_validate(answer)


def _items(truths: Mapping[str, Label] | Iterable[Told]) -> Iterator[FeedbackItem]:
    for told in truths.items() if isinstance(truths, Mapping) else truths:
        if isinstance(told, FeedbackItem):
            yield told
        else:
            yield FeedbackItem(prediction_id=told[0], truth=told[1])


def _batches(items: Iterator[FeedbackItem]) -> Iterator[list[FeedbackItem]]:
    while batch := list(itertools.islice(items, MAX_ITEMS)):
        yield batch
