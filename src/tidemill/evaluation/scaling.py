"""Counts of a population from a uniform random sample of it, with their intervals."""

import math
from dataclasses import dataclass

from scipy.special import betaincinv

_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class ScaledCount:
    """``low`` and ``high`` hold the true count with a probability of at least 95%."""

    value: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Scaling:
    """``seen`` of ``population`` rows were drawn at random without replacement, all of them equally likely."""

    seen: int
    population: int

    @property
    def is_complete(self) -> bool:
        return self.seen >= self.population

    def scale(self, found: int) -> ScaledCount:
        """What ``found`` rows of those seen say of the population.

        The interval is Clopper and Pearson's (The use of confidence or fiducial limits, Biometrika 26, 1934), which
        supposes drawing with replacement; without it counts vary less (Hoeffding, Probability inequalities for sums of
        bounded random variables, 1963, section 6), so it errs on the safe side. Rows that were seen are certain.
        """
        if self.is_complete:
            return ScaledCount(found, found, found)
        unseen, tail = self.population - self.seen, (1 - _CONFIDENCE) / 2
        low, high = 0.0, 1.0
        if found > 0:
            low = float(betaincinv(found, self.seen - found + 1, tail))
        if found < self.seen:
            high = float(betaincinv(found + 1, self.seen - found, 1 - tail))
        value = round(found * self.population / self.seen) if self.seen else 0
        return ScaledCount(
            value,
            min(value, max(found, math.floor(low * self.population))),
            max(value, min(found + unseen, math.ceil(high * self.population))),
        )
