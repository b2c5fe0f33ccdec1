"""Count, mean, spread and range of numbers, in parts that merge."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class RunningMoments:
    """Of n numbers.

    Attributes:
        n: how many.
        mean: 0 where there are none.
        squares: sum of the squared deviations from the mean.
        low: the smallest; infinity where there are none.
        high: the largest; minus infinity where there are none.
    """

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    @classmethod
    def of(cls, numbers: npt.NDArray[np.float64]) -> Self:
        """Of float64 [n], without NaN."""
        if not len(numbers):
            return cls()
        mean = float(numbers.mean())
        return cls(len(numbers), mean, float(np.square(numbers - mean).sum()), float(numbers.min()), float(numbers.max()))

    def merge(self, other: Self) -> Self:
        """Of both (Chan, Golub, LeVeque 1983)."""
        if not (self.n and other.n):
            return self if self.n else other
        n = self.n + other.n
        apart = other.mean - self.mean
        return type(self)(
            n,
            self.mean + apart * (other.n / n),
            self.squares + other.squares + apart * apart * (self.n * (other.n / n)),
            min(self.low, other.low),
            max(self.high, other.high),
        )

    @property
    def sd(self) -> float:
        """Standard deviation, over n."""
        return math.sqrt(self.squares / self.n) if self.n else 0.0

    @property
    def largest(self) -> float:
        """The largest absolute value; 0 where there are no numbers."""
        return max(abs(self.low), abs(self.high)) if self.n else 0.0
