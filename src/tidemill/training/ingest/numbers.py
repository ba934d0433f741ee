"""Figures of columns that hold numbers, dates or times: exact for whole numbers of 64 bits, within the extremes always.

Whole numbers, days and microseconds are counted as integers and never pass through a float where that would round;
floats are scaled where squares or differences of them would leave their range.
"""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
HISTOGRAM_BINS = 20
_TENTHS_OF_PERCENTS = 1000
_FLOAT_HOLDS = 2**53
_LEAST_UNSCALED, _GREATEST_UNSCALED = 1e-100, 1e100
_MICROSECONDS_PER_SECOND = 1_000_000
_DAY_SECONDS = 86_400
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - zones are gone already

Number = int | float


@dataclass(frozen=True)
class Measured:
    """A column of ``present`` numbers between ``low`` and ``high``, both as its unit counts them.

    kind: integer, float, date (days since 1970) or datetime (microseconds since 1970). name: quoted.
    """

    name: str
    kind: str
    present: int
    low: Number
    high: Number
    exact: bool

    @property
    def whole(self) -> bool:
        return self.kind != "float"

    @property
    def expression(self) -> str:
        """The column as its unit counts it."""
        return {
            "date": f"({self.name} - DATE '1970-01-01')::BIGINT",
            "datetime": f"epoch_us({self.name})",
        }.get(self.kind, self.name)

    @property
    def scale(self) -> float:
        """A power of two by which floats are divided, so that neither squares nor differences leave their range."""
        largest = max(abs(self.low), abs(self.high))
        if self.whole or largest == 0 or _LEAST_UNSCALED < largest < _GREATEST_UNSCALED:
            return 1.0
        return 2.0 ** max(-1000, math.frexp(largest)[1] - 1)

    @property
    def bins(self) -> int:
        """One where all numbers are alike, or lie too close for edges between them."""
        if self.whole:
            return HISTOGRAM_BINS if self.high > self.low else 1
        return HISTOGRAM_BINS if self._width > 0 else 1

    @property
    def _width(self) -> float:
        return (self.high / self.scale - self.low / self.scale) / HISTOGRAM_BINS

    def aggregates(self) -> list[str]:
        """SQL: sum, spread, quantiles and, unless the table is small, bins. Read what they give by `figures`."""
        moved = self._moved
        total = f"sum({self.expression}::HUGEINT)" if self.whole else f"avg({moved})"
        if self.exact:
            quantiles = f"quantile_disc({self.expression}, [{', '.join(map(str, self._positions()))}])"
        else:
            quantiles = f"approx_quantile({moved}, [{', '.join(map(str, QUANTILES))}])"
        found = [total, f"stddev_samp({moved})", quantiles]
        return found if self.exact else [*found, f"histogram({self.bin_expression()})"]

    @property
    def _moved(self) -> str:
        """As a float near zero, where floats are finest."""
        if self.whole:
            return f"({self.expression}::HUGEINT - ({self.low})::HUGEINT)::DOUBLE"
        return f"({self.name} / {self.scale!r}::DOUBLE)"

    def _ranks(self) -> list[tuple[int, Fraction]]:
        """Of each quantile the place in the ordered numbers below it, and how far it lies towards the next."""
        places = [
            Fraction(round(share * _TENTHS_OF_PERCENTS), _TENTHS_OF_PERCENTS) * (self.present - 1)
            for share in QUANTILES
        ]
        return [(math.floor(place), place - math.floor(place)) for place in places]

    def _positions(self) -> list[float]:
        """Shares by which the discrete quantile gives the number at a rank and the next one, for each of the ranks."""
        last = self.present - 1
        ranks = [rank for low, _ in self._ranks() for rank in (low, min(low + 1, last))]
        return [(rank + 0.5) / self.present for rank in ranks]

    def bin_expression(self) -> str:
        """SQL: the bin of a number, NULL of none; one on an edge is in the bin above, the greatest in the last."""
        if self.bins == 1:
            position = "0"
        elif self.whole:
            span = self.high - self.low
            position = f"(({self.expression}::HUGEINT - ({self.low})::HUGEINT) * {HISTOGRAM_BINS} // {span}::HUGEINT)"
        else:
            position = f"floor(({self._moved} - {self.low / self.scale!r}::DOUBLE) / {self._width!r}::DOUBLE)"
        within = f"greatest(0, least({HISTOGRAM_BINS - 1}, {position}))::TINYINT"
        return f"CASE WHEN {self.name} IS NOT NULL THEN {within} END"

    def figures(
        self, total: Any, spread: float | None, quantiles: Sequence[Any], bins: dict[int, int]
    ) -> dict[str, Any]:
        """Mean, deviation, quantiles and histogram, as they are shown."""
        found = self._exact_quantiles(quantiles) if self.exact else self._near_quantiles(quantiles)
        return {
            "mean": self.shown(self._mean(total)),
            "std": self._deviation(spread),
            "quantiles": {str(share): self.shown(value) for share, value in zip(QUANTILES, found, strict=True)},
            "quantiles_approximate": not self.exact,
            "histogram": {
                "edges": [self.shown(edge) for edge in self._edges()],
                "counts": [bins.get(step, 0) for step in range(self.bins)],
            },
        }

    def _mean(self, total: Any) -> Fraction | float:
        if self.whole:
            return Fraction(int(total), self.present)
        return min(max(float(total) * self.scale, float(self.low)), float(self.high))

    def _deviation(self, spread: float | None) -> float | None:
        if spread is None:
            return None
        unit = {"date": float(_DAY_SECONDS), "datetime": 1 / _MICROSECONDS_PER_SECOND}.get(self.kind, 1.0)
        deviation = spread * self.scale * unit
        return deviation if math.isfinite(deviation) else None

    def _exact_quantiles(self, ordered: Sequence[Any]) -> list[Fraction]:
        """Linear interpolation between the two numbers that a quantile lies between."""
        pairs = zip(ordered[::2], ordered[1::2], strict=True)
        return [
            Fraction(low) + (Fraction(high) - Fraction(low)) * part
            for (low, high), (_, part) in zip(pairs, self._ranks(), strict=True)
        ]

    def _near_quantiles(self, estimates: Sequence[float]) -> list[Number]:
        """Estimates, which stay in order and within the extremes, and whole where the numbers are."""
        found: list[Number] = []
        least: Number = self.low
        for estimate in estimates:
            if not math.isnan(estimate):
                value = round(estimate) + self.low if self.whole else estimate * self.scale
                least = min(max(value, least), self.high)
            found.append(least)
        return found

    def _edges(self) -> list[Fraction | Number]:
        if self.bins == 1:
            return [self.low, self.high]
        low, span = Fraction(self.low), Fraction(self.high) - Fraction(self.low)
        inner = [low + span * step / HISTOGRAM_BINS for step in range(1, HISTOGRAM_BINS)]
        return [self.low, *(self._edge(edge) for edge in inner), self.high]

    def _edge(self, edge: Fraction) -> Fraction | int:
        """Whole numbers reach a broken edge with the next whole one."""
        broken_is_fine = self.kind == "integer" and abs(edge) <= _FLOAT_HOLDS
        return math.ceil(edge) if self.whole and not broken_is_fine else edge

    def shown(self, value: Fraction | Number) -> Any:
        """As JSON has it: numbers exactly where a float would not hold them, dates and times as text."""
        if self.kind == "float":
            return float(value)
        exact = Fraction(value)
        if self.kind != "integer":
            return self._moment(math.floor(exact))
        if exact.denominator == 1:
            return int(exact)
        return float(exact) if abs(exact) <= _FLOAT_HOLDS else round(exact)

    def _moment(self, units: int) -> str:
        if self.kind == "date":
            return (_EPOCH + dt.timedelta(days=units)).date().isoformat()
        return (_EPOCH + dt.timedelta(microseconds=units)).isoformat()


def units_of(value: Any, kind: str) -> Number:
    """A value as DuckDB gives it, as `Measured` counts it."""
    if kind == "date":
        return int((value - _EPOCH.date()).days)
    if kind == "datetime":
        return int((value - _EPOCH) // dt.timedelta(microseconds=1))
    return float(value) if kind == "float" else int(value)
