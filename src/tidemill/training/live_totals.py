"""What the ledger holds where a report looks at samples of it, and what counts of these samples mean for all rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from tidemill.evaluation.scaling import Scaling
from tidemill.schemas.monitoring import CountInterval
from tidemill.training.live_rows import Columns


class DayTotal(BaseModel):
    """Predictions of one model version on one day (UTC), and how many of them have feedback; counted exactly."""

    predictions: int = 0
    truths: int = 0


Totals = Mapping[date, DayTotal]


def sum_by_day(parts: Sequence[Totals]) -> dict[date, DayTotal]:
    """Of several model versions together."""
    summed: dict[date, DayTotal] = {}
    for part in parts:
        for day, total in part.items():
            known = summed.setdefault(day, DayTotal())
            known.predictions += total.predictions
            known.truths += total.truths
    return summed


@dataclass(frozen=True)
class Counting:
    """How counts among a slice's rows become counts of all its predictions.

    uniform: for what is counted among the rows drawn from all predictions. truths: among those with feedback.
    """

    uniform: Scaling
    truths: Scaling
    days: Totals | None = field(default=None)

    @classmethod
    def of(cls, rows: Columns, totals: Totals | None) -> "Counting":
        """Without ``totals`` the rows are all there are."""
        seen, told = int(rows.uniform.sum()), int(rows.told.sum())
        if totals is None:
            return cls(Scaling(seen, len(rows)), Scaling(told, told))
        predictions = sum(total.predictions for total in totals.values())
        truths = sum(total.truths for total in totals.values())
        return cls(Scaling(seen, max(predictions, seen)), Scaling(told, max(truths, told)), totals)

    @property
    def predictions(self) -> int:
        return self.uniform.population

    def unlabelled(self, rows: Columns) -> Scaling:
        """For what is counted among the rows of the uniform sample that have no truth."""
        seen = int((rows.uniform & ~rows.labelled).sum())
        labelled = self.truths.scale(int(rows.labelled.sum())).value
        return Scaling(seen, max(seen, self.predictions - labelled))

    def of_day(self, day: date, part: Columns) -> "Counting":
        """The same of one day's rows."""
        return Counting.of(part, None if self.days is None else {day: self.days.get(day, DayTotal())})


def scaled(found: int, scaling: Scaling) -> tuple[int, CountInterval | None]:
    """The count, and its interval where it was scaled."""
    count = scaling.scale(found)
    return count.value, None if scaling.is_complete else CountInterval(low=count.low, high=count.high)


def scaled_all(
    found: NDArray[np.int64] | Sequence[int], scaling: Scaling
) -> tuple[list[int], list[CountInterval] | None]:
    """`scaled` for several counts."""
    counts = [scaled(int(one), scaling) for one in found]
    intervals = [interval for _, interval in counts if interval is not None]
    return [value for value, _ in counts], intervals or None
