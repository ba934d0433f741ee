"""Distributions of scores and predictions, and whether two samples could come from the same one."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
_KS_CRITICAL_95 = 1.358
"""Of the two-sample Kolmogorov-Smirnov statistic, times the root of (n + m) / (n m)."""
_SURELY_SUMMABLE = 1e290
_NOTABLE_STATISTIC = 0.1
"""Differences of the distribution functions below this are of no practical weight, however sure they are."""


@dataclass(frozen=True, slots=True)
class SampleComparison:
    """``statistic``: largest distance of the two distribution functions, 0 to 1. ``critical``: its value at 5%."""

    statistic: float
    critical: float

    @property
    def differs(self) -> bool:
        return self.statistic > max(self.critical, _NOTABLE_STATISTIC)

    @property
    def conclusive(self) -> bool:
        """Whether samples of these sizes would have shown a notable difference."""
        return self.differs or self.critical <= _NOTABLE_STATISTIC


def compare_samples(first: Numbers, second: Numbers) -> SampleComparison:
    """Two-sample Kolmogorov-Smirnov test with its asymptotic critical value (Smirnov, 1948). Both must hold numbers."""
    first, second = np.sort(first), np.sort(second)
    points = np.concatenate([first, second])
    share_first = np.searchsorted(first, points, side="right") / len(first)
    share_second = np.searchsorted(second, points, side="right") / len(second)
    critical = _KS_CRITICAL_95 * math.sqrt((len(first) + len(second)) / (len(first) * len(second)))
    return SampleComparison(float(np.abs(share_first - share_second).max()), critical)


def histogram(values: Numbers, bins: int, limits: tuple[float, float] | None = None) -> tuple[list[float], list[int]]:
    """Edges (``bins`` + 1) and counts; by default from the smallest to the largest value."""
    if limits is not None:
        counts, edges = np.histogram(values, bins=bins, range=limits)
        return edges.tolist(), counts.tolist()
    low, high = float(values.min()), float(values.max())
    if low == high:
        edges = np.linspace(low - 0.5, high + 0.5, bins + 1)  # as NumPy does
    else:
        edges = within_range(np.array([low, high]), lambda ends: np.linspace(ends[0], ends[1], bins + 1))
    if len(np.unique(edges)) <= bins:  # too close, or too large, for edges between them
        return [low, *[high] * bins], [0] * (bins - 1) + [len(values)]
    counts, _ = np.histogram(values, bins=edges)
    return edges.tolist(), counts.tolist()


def within_range(values: Numbers, linear: Callable[[Numbers], Numbers]) -> Numbers:
    """``linear`` of ``values`` by way of smaller ones where sums or differences of them are beyond any float.

    The result lies between the least and the greatest value.
    """
    largest = float(np.abs(values).max())
    scale = 2.0**512 if largest > _SURELY_SUMMABLE else 1.0
    return np.clip(np.asarray(linear(values / scale)) * scale, values.min(), values.max())
