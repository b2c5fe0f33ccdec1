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
        likelihood = guard.likelihood
        shares = likelihood.shares()
        self._starts = np.cumsum([0, *(len(part) for part in shares)])
        self._shares = np.vstack(shares) if shares else np.zeros((0, len(likelihood.names)))
        # Most groups are of one class: each product is taken over the groups that count in it.
        self._classes = tuple(
            (share[share > 0], np.flatnonzero(share > 0), np.ascontiguousarray(self._shares[:, share > 0].T))
            for share in (likelihood.positive, 1 - likelihood.positive)
        )

    @cached_property
    def _segments(self) -> list[slice]:
        return [slice(a, b) for a, b in zip(self._starts[:-1].tolist(), self._starts[1:].tolist(), strict=True)]

    def weights(self, cells: Cells) -> Float64:
        """How likely each known group is, for n rows: [n, K]."""
        return _weights(self.guard.likelihood.known_likelihoods(cells, ~np.isnan(cells.numbers[0])))

    def bits(self, weights: Float64) -> Float64:
        """Expected information about the class, in bits, of every column for n rows: [n, columns]."""
        positive, negative = ((weights[:, groups] * share) @ shares for share, groups, shares in self._classes)
        remaining = _log2_times(positive + negative) - _log2_times(positive) - _log2_times(negative)
        now = _entropy(weights @ self.guard.likelihood.positive)
        gains = np.zeros((len(weights), len(self.cost)))
        there = np.flatnonzero(np.diff(self._starts) > 0)  # a column without a value in any group tells nothing
        if there.size:
            gains[:, there] = np.maximum(now[:, np.newaxis] - np.add.reduceat(remaining, self._starts[there], axis=1), 0.0)
        return gains

    def power(self, weights: Float64) -> Float64:
        """Power to unmask a stranger, of every column for n rows: [n, columns]."""
        share, groups, _ = self._classes[1]
        negative = weights[:, groups] * share
        total = negative.sum(axis=1, keepdims=True)
        of_negative = (negative / np.maximum(total, 1e-300)) @ self.guard.power[:, groups].T
        return np.asarray(of_negative if (total > 1e-12).all() else np.where(total > 1e-12, of_negative, weights @ self.guard.power.T))

    def _scores(self, weights: Float64, left: Flags) -> Float64:
        """How good each column is to look at next, for n rows: [n, columns].

        Args:
            weights: [n, K].
            left: bool [n, columns], columns that are left.
        """
        score = np.zeros(left.shape)
        positive = weights @ self.guard.likelihood.positive
        rows = np.flatnonzero((positive > DECIDED) & (positive < 1 - DECIDED))
        if rows.size:
            score[rows] = self.bits(weights[rows])
        # Also where the class is open and no column that is left would tell.
        rows = np.flatnonzero(((score > LEAST_GAIN) & left).sum(axis=1) == 0)
        if rows.size:
            score[rows] = self.power(weights[rows])
        return np.asarray(score / self.cost)

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
            known = likelihood.known_likelihoods(cells.take(rows), observed)
            if left_out is not None:
                mine = left_out[rows] >= 0
                known[np.flatnonzero(mine), left_out[rows][mine]] = -np.inf
            score = np.where(used[rows], -np.inf, self._scores(_weights(known), ~used[rows]))
            result[rows] = score.argmax(axis=1)
        return result

    def best(self, cells: Cells, *, most: int, without: frozenset[str] = frozenset()) -> tuple[Question, ...]:
        """The questions to ask about one row, the best first; only such as may tell something.

        Args:
            cells: one row.
            most: how many at most.
            without: columns that cannot be answered.
        """
        every = self.weights(cells)
        bits, power, weights = self.bits(every)[0], self.power(every)[0], every[0]
        order = np.argsort(-self._scores(every, ~cells.observed)[0], kind="stable").tolist()
        columns = self.guard.layout.columns
        result: list[Question] = []
        for at in order:
            name = columns[at]
            tells = bits[at] > LEAST_GAIN or power[at] > LEAST_GAIN
            if len(result) < most and tells and not cells.observed[0, at] and name not in without:
                values = self._values(at, weights)
                result.append(Question(name, float(bits[at]), float(power[at]), float(self.cost[at]), values))
        return tuple(result)

    def columns(self, cells: Cells, *, most: int) -> list[tuple[str, ...]]:
        """The columns to look at next about n rows, the best first; only such as may tell something."""
        names = (*self.guard.layout.columns, None)
        return [tuple(name for at in row if (name := names[at]) is not None) for row in self.ranked(cells, most=most).tolist()]

    def ranked(self, cells: Cells, *, most: int) -> npt.NDArray[np.intp]:
        """The numbers of the same columns, -1 where there is none that tells: [n, most]."""
        result = np.full((len(cells), most), -1, dtype=np.intp)
        for observed, rows in self.guard.likelihood.by_numbers(cells):
            left, everyone = ~cells.observed[rows], np.arange(len(rows))
            if not left.any():
                continue
            score = self._scores(_weights(self.guard.likelihood.known_likelihoods(cells.take(rows), observed)), left)
            score[~left] = 0.0
            for place in range(min(most, score.shape[1])):
                best = score.argmax(axis=1)
                result[rows, place] = np.where(score[everyone, best] > 0, best, -1)
                score[everyone, best] = 0.0
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
        typicality, without = likelihood.typicality_everywhere(cells)
        usual = self.guard.profile(cells.keys[0]).usual
        level = usual[min(int((1 - coverage) * (len(usual) + 1)), len(usual) - 1)] if len(usual) else -np.inf
        fitting = typicality >= level
        weights = self.weights(cells)[0]
        order = np.argsort(-weights, kind="stable").tolist()
        fits = tuple(Fit(k, float(weights[k]), float(likelihood.positive[k])) for k in order if fitting[k])
        at, groups = np.nonzero((without >= level) & ~fitting)
        observed = np.flatnonzero(cells.observed[0])
        misses = zip(without[at, groups].tolist(), groups.tolist(), observed[at].tolist(), strict=True)
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


def _log2_times(p: Float64) -> Float64:
    """Of each p: p log2(p), and 0 at 0."""
    return np.asarray(p * np.log2(np.maximum(p, 1e-300)))


def _entropy(p: Float64) -> Float64:
    """Of a yes-or-no variable, in bits."""
    q = p.clip(1e-15, 1 - 1e-15)
    return np.asarray(-(q * np.log2(q) + (1 - q) * np.log2(1 - q)))
