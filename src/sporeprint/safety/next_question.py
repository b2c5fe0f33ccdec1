"""Which column to look at next, and which groups still fit: the key beside the verdict.

While the class is open, the column that is expected to tell most about it (mutual information, in bits). Once it is decided, the
column by which a group never seen would most likely be unmasked. Both per declared cost.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sporeprint.safety.cells import Cells
from sporeprint.safety.partial_guard import PartialGuard

Float64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

#: The class is decided once P(positive) is this near to 0 or to 1.
DECIDED = 0.01
#: Bits or nats below which a column tells nothing.
LEAST_GAIN = 1e-6
#: Log-likelihood below the average of a group's own rows from which a column is unusual there.
UNUSUAL = -2.0
#: Groups less likely than this are not worth naming.
LEAST_LIKELY = 1e-4


@dataclass(frozen=True)
class PossibleValue:
    """What one answer to a question would mean.

    Attributes:
        value: the code; of a number its range, as (from, to), in the column's unit and open where None.
        likelihood: how likely this answer is.
        positive: P(positive) after it.
    """

    value: str | tuple[float | None, float | None]
    likelihood: float
    positive: float


@dataclass(frozen=True)
class Question:
    """A column to look at.

    Attributes:
        column: its name.
        class_bits: expected information about the class, in bits.
        power: expected surprise of a known group at the value of a group never seen, in nats.
        cost: declared cost.
        values: what each answer would mean, the likeliest first.
    """

    column: str
    class_bits: float
    power: float
    cost: float
    values: tuple[PossibleValue, ...]


@dataclass(frozen=True)
class Fit:
    """A group that the observed columns do not exclude.

    Attributes:
        group: its number among the guard's.
        likelihood: how likely it is, among all known groups.
        positive: share of positive rows in it.
    """

    group: int
    likelihood: float
    positive: float


@dataclass(frozen=True)
class NearMiss:
    """A group that would fit, but for one column."""

    group: int
    positive: float
    column: str


@dataclass(frozen=True)
class Key:
    """What is left of the known groups.

    Attributes:
        fits: the groups that fit, the likeliest first.
        near_misses: those that one column excludes, the likeliest first.
    """

    fits: tuple[Fit, ...]
    near_misses: tuple[NearMiss, ...]


class Questions:
    """Chooses questions for one guard.

    Args:
        guard: the guard.
        cost: column -> declared cost; 1 where there is none.
    """

    def __init__(self, guard: PartialGuard, cost: Mapping[str, float]) -> None:
        self.guard = guard
        layout = guard.layout
        self.cost = np.array([cost.get(name, 1.0) for name in layout.columns])
        shares = guard.likelihood.shares()
        self._starts = np.cumsum([0, *(len(part) for part in shares)])
        self._shares = np.vstack(shares) if shares else np.zeros((0, len(guard.likelihood.names)))

    @cached_property
    def _segments(self) -> list[slice]:
        return [slice(a, b) for a, b in zip(self._starts[:-1].tolist(), self._starts[1:].tolist(), strict=True)]

    def weights(self, cells: Cells) -> Float64:
        """How likely each known group is, for n rows: [n, K]."""
        known, _ = self.guard.likelihood.log_likelihoods(cells, ~np.isnan(cells.numbers[0]))
        return _weights(known)

    def gains(self, weights: Float64) -> tuple[Float64, Float64]:
        """Information about the class, in bits, and power to unmask a stranger, of every column for n rows: [n, columns] each."""
        positive = self.guard.likelihood.positive
        both = weights @ self._shares.T
        of_positive = (weights * positive) @ self._shares.T
        share = of_positive / np.maximum(both, 1e-300)
        remaining = both * _entropy(share)
        now = _entropy(weights @ positive)
        sums = np.stack([remaining[:, part].sum(axis=1) for part in self._segments], axis=1)
        negative = weights * (1 - positive)
        total = negative.sum(axis=1, keepdims=True)
        likely = np.where(total > 1e-12, negative / np.maximum(total, 1e-300), weights)
        return np.maximum(now[:, np.newaxis] - sums, 0.0), likely @ self.guard.power.T

    def order(self, cells: Cells) -> tuple[npt.NDArray[np.intp], Float64, Float64]:
        """Columns of n rows with the same observed numbers, the best to look at next first; and both gains: [n, columns] each.

        Columns already observed come last.
        """
        score, bits, power = self._scores(self.weights(cells))
        score = np.where(cells.observed, -np.inf, score)
        return np.argsort(-score, axis=1, kind="stable"), bits, power

    def _scores(self, weights: Float64) -> tuple[Float64, Float64, Float64]:
        bits, power = self.gains(weights)
        positive = weights @ self.guard.likelihood.positive
        is_open = (positive > DECIDED) & (positive < 1 - DECIDED)
        return np.where(is_open[:, np.newaxis], bits, power) / self.cost, bits, power

    def choose(self, cells: Cells, used: Flags, *, left_out: npt.NDArray[np.intp] | None = None) -> npt.NDArray[np.intp]:
        """The best column to look at next for each of n rows: [n].

        Args:
            cells: the rows.
            used: bool [n, columns], questions that were put, with or without an answer.
            left_out: intp [n], groups that are not known; None: all are.
        """
        result = np.empty(len(cells), dtype=np.intp)
        likelihood = self.guard.likelihood
        for observed, rows in likelihood.by_numbers(cells):
            known, _ = likelihood.log_likelihoods(cells.take(rows), observed)
            if left_out is not None:
                mine = left_out[rows] >= 0
                known[np.flatnonzero(mine), left_out[rows][mine]] = -np.inf
            score = np.where(used[rows], -np.inf, self._scores(_weights(known))[0])
            result[rows] = score.argmax(axis=1)
        return result

    def best(self, cells: Cells, *, most: int, without: frozenset[str] = frozenset()) -> tuple[Question, ...]:
        """The questions to ask about one row, the best first; only such as may tell something.

        Args:
            cells: one row.
            most: how many at most.
            without: columns that cannot be answered.
        """
        order, bits, power = self.order(cells)
        weights = self.weights(cells)[0]
        columns = self.guard.layout.columns
        result: list[Question] = []
        for at in order[0].tolist():
            name = columns[at]
            tells = bits[0, at] > LEAST_GAIN or power[0, at] > LEAST_GAIN
            if len(result) < most and tells and not cells.observed[0, at] and name not in without:
                values = self._values(at, weights)
                result.append(Question(name, float(bits[0, at]), float(power[0, at]), float(self.cost[at]), values))
        return tuple(result)

    def columns(self, cells: Cells, *, most: int) -> list[tuple[str, ...]]:
        """The columns to look at next about n rows, the best first; only such as may tell something."""
        result: list[tuple[str, ...]] = [()] * len(cells)
        names = self.guard.layout.columns
        for observed, rows in self.guard.likelihood.by_numbers(cells):
            known, _ = self.guard.likelihood.log_likelihoods(cells.take(rows), observed)
            score, bits, power = self._scores(_weights(known))
            tells = ~cells.observed[rows] & ((bits > LEAST_GAIN) | (power > LEAST_GAIN))
            order = np.argsort(-np.where(tells, score, -np.inf), axis=1, kind="stable")[:, :most]
            for number, row in enumerate(rows.tolist()):
                result[row] = tuple(names[at] for at in order[number].tolist() if tells[number, at])
        return result

    def _values(self, at: int, weights: Float64) -> tuple[PossibleValue, ...]:
        shares, positive = self._shares[self._segments[at]], self.guard.likelihood.positive
        likely = shares @ weights
        after = (shares @ (weights * positive)) / np.maximum(likely, 1e-300)
        layout = self.guard.layout
        name = layout.columns[at]
        values: list[str | tuple[float | None, float | None]]
        if name in layout.categories:
            values = list(layout.categories[name])
        else:
            mean, scale = layout.scales[name]
            edges = self.guard.likelihood.edges(at - len(layout.categories)) * scale + mean
            ends = [None, *(round(edge, 2) for edge in edges.tolist()), None]
            values = list(itertools.pairwise(ends))
        order = np.argsort(-likely, kind="stable").tolist()
        return tuple(PossibleValue(values[n], float(likely[n]), float(after[n])) for n in order if likely[n] >= LEAST_LIKELY)

    def key(self, cells: Cells, *, coverage: float, most_near_misses: int = 5) -> Key:
        """Which known groups the observed columns do not exclude: conformal tests at the guard's level, group by group.

        Args:
            cells: one row.
            coverage: see the guard's settings.
            most_near_misses: near misses that are named.
        """
        likelihood = self.guard.likelihood
        groups = len(likelihood.names)
        observed = ~np.isnan(cells.numbers[0])
        repeated = cells.take(np.zeros(groups, dtype=np.intp))
        everyone = np.arange(groups)
        typicality = likelihood.typicality(repeated, observed, everyone)
        usual = self.guard.profile(np.packbits(cells.observed[0]).tobytes(), cells.observed[0])
        level = usual[min(int((1 - coverage) * (len(usual) + 1)), len(usual) - 1)] if len(usual) else -np.inf
        fitting = typicality >= level
        weights = self.weights(cells)[0]
        order = np.argsort(-weights, kind="stable").tolist()
        fits = tuple(Fit(k, float(weights[k]), float(likelihood.positive[k])) for k in order if fitting[k])
        misses = []
        for at in np.flatnonzero(cells.observed[0]).tolist():
            mask = cells.observed[0].copy()
            mask[at] = False
            without = repeated.hidden(mask, self.guard.layout)
            better = likelihood.typicality(without, ~np.isnan(without.numbers[0]), everyone)
            misses += [(float(better[k]), k, at) for k in np.flatnonzero(~fitting & (better >= level)).tolist()]
        best: dict[int, tuple[float, int]] = {}
        for value, k, at in misses:
            if k not in best or value > best[k][0]:
                best[k] = (value, at)
        ranked = sorted(best.items(), key=lambda item: -item[1][0])[:most_near_misses]
        columns = self.guard.layout.columns
        return Key(fits, tuple(NearMiss(k, float(likelihood.positive[k]), columns[at]) for k, (_, at) in ranked))

    def unusual(self, cells: Cells, group: npt.NDArray[np.intp], *, most: int = 3) -> list[tuple[str, ...]]:
        """The observed columns of n rows that are least like one group each, the least first."""
        likelihood, layout = self.guard.likelihood, self.guard.layout
        surprise = likelihood.surprise[cells.places, group[:, np.newaxis]].astype(np.float64)
        z = (cells.numbers - likelihood.means[group]) / likelihood.spreads[group]
        surprise[:, len(layout.categories) :] += np.where(np.isnan(z), 0.0, 0.5 * (1 - z * z))
        surprise = np.where(cells.observed, surprise, 0.0)
        order = np.argsort(surprise, axis=1, kind="stable")[:, :most]
        is_unusual = np.take_along_axis(surprise, order, axis=1) < UNUSUAL
        return [tuple(layout.columns[at] for at in row[flags]) for row, flags in zip(order, is_unusual, strict=True)]


def _weights(known: npt.NDArray[np.float32]) -> Float64:
    weights = np.exp(known.astype(np.float64) - known.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _entropy(p: Float64) -> Float64:
    """Of a yes-or-no variable, in bits."""
    q = p.clip(1e-15, 1 - 1e-15)
    return np.asarray(-(q * np.log2(q) + (1 - q) * np.log2(1 - q)))
