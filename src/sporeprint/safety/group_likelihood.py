"""How likely a row is in each known group when only some of its columns were observed, and how likely in a group never seen.

In a group every nominal column has its shares, and the numeric columns a normal curve with the group's own means and spreads and
one correlation within groups for all of them. A column that was not observed is left out of the sum: for independent columns, and
for a normal curve, that is the exact marginal likelihood. A column that a group has no value of at all (its book is silent) has the
distribution of all groups there: it neither speaks for the group nor against it.

A group never seen is thought of as a known one that has changed: in each nominal column, with probability `MUTATION`, it has the
value of just any group, and its numbers spread `WIDENING` times as wide. So the more fields agree with a known group, and the rarer
their values, the less likely it is that the row comes from a stranger that only resembles it. See docs/decisions/0041.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from sporeprint.common.batches import BatchSequence
from sporeprint.common.npz import from_npz, to_npz
from sporeprint.data.coded_table import Codes
from sporeprint.safety.cells import EMPTY, FIRST_VALUE, NEVER_SEEN, NOT_OBSERVED, Cells, Layout, rows_alike
from sporeprint.safety.component_counts import ComponentCounts, ComponentRows, count_components, scale_of
from sporeprint.schema import Column, DatasetSchema
from sporeprint.stats.special import ndtr

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

#: Added to every count, so that a value never seen in a group is very unlikely there, not impossible.
PSEUDO_COUNT = 1e-3
#: Smallest standard deviation of a numeric column in a group, as a share of its standard deviation over all rows.
LEAST_SPREAD = 0.05
#: Smallest standard deviation of a numeric column over all rows, relative to its numbers; below, it is rounding.
LEAST_SCALE = 1e-12
#: A group never seen: how often a column's value is that of just any group, its numbers' variance as a multiple, and how likely it
#: is that a row comes from one (the odds against all known groups together).
MUTATION, WIDENING, STRANGER_ODDS = 0.3, 1.5, 0.05
#: With more numeric columns their correlation is left out: the products of pairs would cost more than they tell.
MOST_CORRELATED = 16
#: Bins in which numbers are looked at where it is reckoned what a column may tell.
BINS = 10
#: Beyond, odds are cut off: float32 has no larger exponential, and nothing is that unlikely.
MOST_EXPONENT, LEAST_MASS = np.float32(80), 1e-30
#: Rows whose likelihoods in all groups are held in memory at a time; of a few, all columns are.
BLOCK_ROWS, FEW_ROWS = 256, 16


@dataclass(frozen=True)
class Evidence:
    """What n rows say.

    Attributes:
        positive: float64 [n], P(positive) if the row is of a known group.
        margin: float64 [n], log odds of a known negative group against known positive groups and groups never seen.
        group: intp [n], the known group that is the likeliest.
        typicality: float64 [n], log-likelihood there, less what it is on average for the group's own rows with these columns.
    """

    positive: Float64
    margin: Float64
    group: Index
    typicality: Float64

    def take(self, rows: npt.NDArray[Any]) -> "Evidence":
        """Of the rows at an index array or under a boolean mask."""
        return Evidence(self.positive[rows], self.margin[rows], self.group[rows], self.typicality[rows])


class RowEvidence(NamedTuple):
    """What one row says; each field as in `Evidence`."""

    positive: float
    margin: float
    group: int
    typicality: float


@dataclass(frozen=True)
class _Numbers:
    """Weights of numeric features for one set of observed numeric columns.

    Attributes:
        first: index [pairs], of each pair of numbers the first.
        second: index [pairs], the second.
        known: float64 [1 + observed + pairs, K], without the share of the group.
        both: float64 [1 + observed + pairs, 2 K], of known groups and of strangers, each with the log share of its group.
        average: float64 [K], average log-likelihood of a group's own numbers.
    """

    observed: Index
    first: Index
    second: Index
    known: Float64
    both: Float64
    average: Float64

    def features(self, numbers: Float64) -> Float64:
        """[n, 1 + observed + pairs] of n rows of all numeric columns."""
        with_one = np.empty((len(numbers), numbers.shape[1] + 1))
        with_one[:, 0] = 1.0
        with_one[:, 1:] = numbers
        left, right = self._factors
        features = with_one.take(left, axis=1)
        features *= with_one.take(right, axis=1)
        return features

    @cached_property
    def _factors(self) -> tuple[Index, Index]:
        """The two factors of each feature: 0 for one, and from 1 on the numeric columns."""
        one, observed = np.zeros(1, dtype=np.intp), self.observed + 1
        first, second = observed[self.first], observed[self.second]
        return np.concatenate([one, observed, first]), np.concatenate([one, np.zeros_like(observed), second])

    def row_features(self, numbers: Sequence[float]) -> Float64:
        """The same of one row: [1 + observed + pairs]."""
        z = [numbers[at] for at in self._of_row[0]]
        return np.array([1.0, *z, *[z[first] * z[second] for first, second in self._of_row[1]]])

    @cached_property
    def _of_row(self) -> tuple[list[int], list[tuple[int, int]]]:
        """The observed numbers, and the pairs among them: for one row lists cost less than arrays."""
        return self.observed.tolist(), list(zip(self.first.tolist(), self.second.tolist(), strict=True))

    @cached_property
    def known_by_group(self) -> Float64:
        """`known` less the average, a group a row: [K, 1 + observed + pairs]."""
        weights = self.known.T.copy()
        weights[:, 0] -= self.average
        return weights


@dataclass(frozen=True)
class GroupLikelihood:
    """K known groups, or clusters.

    Attributes:
        layout: where the columns' cells stand in the tables.
        known: float32 [height, K], log-likelihood of every nominal cell in every group; 0 where not observed.
        stranger: float32 [height, K], the same in a group never seen that resembles the known one.
        surprise: float32 [height, K], `known` less its average over the group's own rows; 0 where the group has no value.
        means: float64 [K, q], of the standardised numbers.
        spreads: float64 [K, q], their standard deviations.
        correlation: float64 [q, q], within groups.
        prior: float64 [K], log share of each group.
        positive: float64 [K], share of positive rows in each group.
        names: int64 [K], the group; -1 for a cluster.
        silent: bool [columns, K], where a group has no value at all.
    """

    layout: Layout
    known: Float32
    stranger: Float32
    surprise: Float32
    means: Float64
    spreads: Float64
    correlation: Float64
    prior: Float64
    positive: Float64
    names: npt.NDArray[np.int64]
    silent: Flags

    # --- likelihoods --------------------------------------------------------------------------------------------------

    def evidence(self, cells: Cells, *, left_out: Index | None = None, weighed: Flags | None = None) -> Evidence:
        """What n rows say.

        Args:
            cells: the rows.
            left_out: intp [n], for each row a group that is not known; -1 for none. None: all are known.
            weighed: bool [n], the rows of which classes and strangers have to be weighed; of others, where there are many, `positive`
                is NaN and `margin` -inf. None: all rows.
        """
        n = len(cells)
        if n == 1 and left_out is None:  # most requests are one row
            of_row = self.row_evidence(cells.places[0], cells.numbers[0].tolist())
            return Evidence(*(np.array([value]) for value in of_row))
        present = ~np.isnan(cells.numbers)
        if 0 < n <= BLOCK_ROWS and (present == present[0]).all():  # as in most requests
            return self._block(cells, present[0], left_out)
        result = Evidence(np.empty(n), np.empty(n), np.empty(n, dtype=np.intp), np.empty(n))
        for observed, rows in self.by_numbers(cells, apart=weighed):
            ask = self._block if weighed is None or weighed[rows[0]] else self._light_block
            block = ask(cells.take(rows), observed, None if left_out is None else left_out[rows])
            result.positive[rows], result.margin[rows] = block.positive, block.margin
            result.group[rows], result.typicality[rows] = block.group, block.typicality
        return result

    def likeliest(self, cells: Cells, *, left_out: Index | None = None) -> Index:
        """The likeliest known group of n rows, as in their `Evidence`: [n]."""
        group = np.empty(len(cells), dtype=np.intp)
        for observed, rows in self.by_numbers(cells):
            group[rows] = self._likeliest(cells.take(rows), observed, None if left_out is None else left_out[rows])
        return group

    def _likeliest(self, cells: Cells, observed: Flags, left_out: Index | None) -> Index:
        known = self.known_likelihoods(cells, observed)
        if left_out is not None:
            mine = np.flatnonzero(left_out >= 0)
            known[mine, left_out[mine]] = -np.inf
        return np.asarray(known.argmax(axis=1))

    def row_evidence(self, places: Index, numbers: Sequence[float]) -> RowEvidence:
        """What one row says, as `evidence` does, without the cost of arrays of one.

        Args:
            places: intp [columns], of its `RowCells`.
            numbers: [q], of its `RowCells`.
        """
        of_numbers = self._by_pattern.get(bytes([z == z for z in numbers])) or self._numbers(~np.isnan(np.array(numbers)))
        features, width = of_numbers.row_features(numbers), len(self.names)
        both = np.add.reduce(self._both.take(places, axis=0), axis=0)
        both += (features @ of_numbers.both).astype(np.float32)
        group = int(both[:width].argmax())
        both -= both[group]
        masses = np.exp(both.clip(-MOST_EXPONENT, MOST_EXPONENT, out=both), out=both) @ self._masses
        surprise = float(np.add.reduce(self._surprise_by_group[group].take(places), dtype=np.float64))
        return _row_evidence(masses.tolist(), group, float(of_numbers.known_by_group[group] @ features) + surprise)

    def rows_evidence(self, cells: Cells) -> list[RowEvidence]:
        """What each of n rows says: as `evidence` does, and for a few rows at less cost."""
        present = ~np.isnan(cells.numbers)
        if not 0 < len(cells) <= FEW_ROWS or not (present == present[0]).all():
            known = self.evidence(cells)
            columns = (column.tolist() for column in (known.positive, known.margin, known.group, known.typicality))
            return [RowEvidence(*values) for values in zip(*columns, strict=True)]
        numbers = self._numbers(present[0])
        features = numbers.features(cells.numbers)
        masses, group = self._masses_of(cells, numbers, features, None)
        typicality = self._typicalities(numbers, features, cells.places, group)
        return [_row_evidence(*values) for values in zip(masses.tolist(), group.tolist(), typicality.tolist(), strict=True)]

    def by_numbers(self, cells: Cells, *, apart: Flags | None = None) -> Iterator[tuple[Flags, Index]]:
        """Blocks of rows with the same observed numbers, and the same flag where there is one: those numbers, and the rows."""
        present = ~np.isnan(cells.numbers)
        for rows in rows_alike(present if apart is None else np.column_stack([present, apart])):
            for start in range(0, len(rows), BLOCK_ROWS):
                yield present[rows[0]], rows[start : start + BLOCK_ROWS]

    def log_likelihoods(self, cells: Cells, observed: Flags) -> tuple[Float32, Float32]:
        """Log-likelihood of rows with the same observed numbers in every known group and in a stranger like it: [n, K] each."""
        numbers = self._numbers(observed)
        both, width = self._summed(self._both, cells, numbers.features(cells.numbers) @ numbers.both), len(self.names)
        return both[:, :width], both[:, width:]

    def known_likelihoods(self, cells: Cells, observed: Flags) -> Float32:
        """The same in known groups alone: [n, K]."""
        numbers = self._numbers(observed)
        return self._summed(self.known, cells, numbers.features(cells.numbers) @ numbers.both[:, : len(self.names)])

    def _summed(self, table: Float32, cells: Cells, of_numbers: Float64) -> Float32:
        # Column by column and the numbers last, as in `row_evidence`: the same rounding, so that a row's answer is the same everywhere.
        if len(cells) <= FEW_ROWS:
            summed = np.add.reduce(table.take(cells.places, axis=0), axis=1)
        else:
            summed = np.zeros((len(cells), table.shape[1]), dtype=np.float32)
            for at in self._telling:
                if cells.observed[:, at].any():  # the others add nothing
                    summed += table.take(cells.places[:, at], axis=0)
        summed += of_numbers.astype(np.float32)
        return np.asarray(summed, dtype=np.float32)

    @cached_property
    def _both(self) -> Float32:
        """Tables of known groups and of strangers side by side: one look-up gives both."""
        return np.ascontiguousarray(np.hstack([self.known, self.stranger]))

    @cached_property
    def _telling(self) -> list[int]:
        """The columns of which the tables say something: a number that is there may tell by its size alone."""
        ends = [*self.layout.starts[1:].tolist(), self.layout.height]
        return [at for at, (start, end) in enumerate(zip(self.layout.starts.tolist(), ends, strict=True)) if self._both[start:end].any()]

    def _block(self, cells: Cells, observed: Flags, left_out: Index | None) -> Evidence:
        numbers = self._numbers(observed)
        features = numbers.features(cells.numbers)
        masses, group = self._masses_of(cells, numbers, features, left_out)
        positive, negative, stranger = masses.astype(np.float64).T
        margin = np.log(np.maximum(negative, LEAST_MASS)) - np.log(np.maximum(positive + stranger, LEAST_MASS))
        return Evidence(positive / (positive + negative), margin, group, self._typicality(numbers, features, cells.places, group))

    def _light_block(self, cells: Cells, observed: Flags, left_out: Index | None) -> Evidence:
        """The same, of rows of which nothing is weighed: half of the look-ups, and no exponentials."""
        group, n, numbers = self._likeliest(cells, observed, left_out), len(cells), self._numbers(observed)
        typicality = self._typicality(numbers, numbers.features(cells.numbers), cells.places, group)
        return Evidence(np.full(n, np.nan), np.full(n, -np.inf), group, typicality)

    def _masses_of(self, cells: Cells, numbers: _Numbers, features: Float64, left_out: Index | None) -> tuple[Float32, Index]:
        """Masses of positive groups, negative ones and strangers, [n, 3], by that of the likeliest group; and that group, [n]."""
        width = len(self.names)
        both = self._summed(self._both, cells, features @ numbers.both)
        if left_out is not None:
            mine = np.flatnonzero(left_out >= 0)
            both[mine, left_out[mine]] = both[mine, width + left_out[mine]] = -np.inf
        group = both[:, :width].argmax(axis=1)
        both -= np.take_along_axis(both, group[:, np.newaxis], axis=1)
        return np.exp(both.clip(-MOST_EXPONENT, MOST_EXPONENT, out=both), out=both) @ self._masses, group

    def _typicality(self, numbers: _Numbers, features: Float64, places: npt.NDArray[np.intp], group: Index) -> Float64:
        """How typical rows with the same observed numbers are of one group each: [n]."""
        return _rounded(self._typicalities(numbers, features, places, group))

    def _typicalities(self, numbers: _Numbers, features: Float64, places: npt.NDArray[np.intp], group: Index) -> Float64:
        """The same, not rounded."""
        cells = places + (group * self.layout.height)[:, np.newaxis]
        surprise = np.add.reduce(self._surprise_by_group.take(cells), axis=1, dtype=np.float64)
        return np.asarray(np.einsum("nf,nf->n", features, numbers.known_by_group[group]) + surprise)

    def typicality_everywhere(self, cells: Cells) -> tuple[Float64, Float64]:
        """How typical one row is of every group, [K]; and with each of its observed columns left out, [observed, K]."""
        present, nominal = ~np.isnan(cells.numbers[0]), len(self.layout.categories)
        surprise = self.surprise.take(cells.places[0], axis=0).astype(np.float64)
        of_cells, of_numbers = surprise.sum(axis=0), self._of_numbers(cells.numbers[0], present)
        columns = np.flatnonzero(cells.observed[0])
        without = of_cells + of_numbers - surprise[columns]
        for at, column in enumerate(columns.tolist()):
            if column >= nominal and present[column - nominal]:
                others = present.copy()
                others[column - nominal] = False
                without[at] += self._of_numbers(cells.numbers[0], others) - of_numbers
        return _rounded(of_cells + of_numbers), _rounded(without)

    def _of_numbers(self, z: Float64, observed: Flags) -> Float64:
        """What the numbers of one row add to its typicality in every group, if these are observed: [K]."""
        numbers = self._numbers(observed)
        return np.asarray(numbers.row_features(z.tolist()) @ numbers.known - numbers.average)

    def typicality_in(self, cells: Cells, group: Index) -> Float64:
        """How typical n rows, with any numbers observed, are of one group each: [n]."""
        result = np.empty(len(cells))
        for observed, rows in self.by_numbers(cells):
            numbers = self._numbers(observed)
            result[rows] = self._typicality(numbers, numbers.features(cells.numbers[rows]), cells.places[rows], group[rows])
        return result

    def shares(self) -> list[Float64]:
        """For every column how its values (numbers: in `BINS` bins) are distributed in each group: [values, K] each."""
        return self._shares

    @cached_property
    def _shares(self) -> list[Float64]:
        result = []
        for at, (name, start) in enumerate(zip(self.layout.columns, self.layout.starts.tolist(), strict=True)):
            if name in self.layout.categories:
                rows = slice(start + FIRST_VALUE, start + FIRST_VALUE + len(self.layout.categories[name]))
                result.append(np.exp(self.known[rows].astype(np.float64)))
            else:
                result.append(self._binned(at - len(self.layout.categories)))
        return result

    def _binned(self, number: int) -> Float64:
        below = ndtr((self.edges(number)[:, np.newaxis] - self.means[:, number]) / self.spreads[:, number])
        groups = below.shape[1]
        shares = np.diff(np.vstack([np.zeros(groups), below, np.ones(groups)]), axis=0) + 1e-4
        return np.asarray(shares / shares.sum(axis=0))

    def edges(self, number: int) -> Float64:
        """Between the bins of a numeric column, standardised: [BINS - 1]. A tenth of the groups' centres lies in each bin."""
        steps = np.linspace(0.0, 1.0, BINS + 1)[1:-1]
        return np.asarray(np.quantile(self.means[:, number], steps))

    @cached_property
    def _masses(self) -> Float32:
        """What a known group and a stranger like it add to the masses of positive rows, negative ones and strangers: [2 K, 3]."""
        masses = np.zeros((2 * len(self.names), 3), dtype=np.float32)
        known, strangers = np.vsplit(masses, 2)
        known[:, 0], known[:, 1], strangers[:, 2] = self._positive32, self._negative32, STRANGER_ODDS
        return masses

    @cached_property
    def _surprise_by_group(self) -> Float32:
        """`surprise`, a group a row: [K, height]."""
        return np.ascontiguousarray(self.surprise.T)

    @cached_property
    def _positive32(self) -> Float32:
        return self.positive.astype(np.float32)

    @cached_property
    def _negative32(self) -> Float32:
        return (1.0 - self.positive).astype(np.float32)

    # --- numbers ------------------------------------------------------------------------------------------------------

    def _numbers(self, observed: Flags) -> _Numbers:
        key = observed.tobytes()
        if (cached := self._by_pattern.get(key)) is None:
            if len(self._by_pattern) >= 256:  # of 2^q sets of numeric columns
                self._by_pattern.clear()
            cached = self._by_pattern[key] = self._numbers_of(np.flatnonzero(observed))
        return cached

    @cached_property
    def _by_pattern(self) -> dict[bytes, _Numbers]:
        return {}

    def _numbers_of(self, at: Index) -> _Numbers:
        means, spreads = self.means[:, at], self.spreads[:, at]
        # -1/2 (z - m)' S^-1 (z - m) with S^-1 = P_ij / (s_i s_j), written out by powers of z.
        if len(self.correlation) > MOST_CORRELATED:  # there is none: P is 1 on the diagonal, which thousands of columns need not invert
            first = second = np.arange(len(at))
            half, squares = 0.0, 1.0 / spreads**2
            pairs, linear = -0.5 * squares, squares * means
            square = -0.5 * (linear * means).sum(axis=1)
        else:
            correlation = self.correlation[np.ix_(at, at)]
            precision = np.linalg.inv(correlation) if len(at) else correlation
            half = 0.5 * (np.linalg.slogdet(correlation)[1] if len(at) else 0.0)
            first, second = np.triu_indices(len(at))
            scaled = precision[np.newaxis] / (spreads[:, :, np.newaxis] * spreads[:, np.newaxis, :])
            pairs = -0.5 * scaled[:, first, second] * np.where(first == second, 1.0, 2.0)
            linear = np.einsum("kij,kj->ki", scaled, means)
            square = -0.5 * np.einsum("ki,kij,kj->k", means, scaled, means)
        logs = np.log(spreads).sum(axis=1) + half + 0.5 * len(at) * np.log(2 * np.pi)

        def weights(variance: float) -> Float64:
            constant = square / variance - logs - 0.5 * len(at) * np.log(variance)
            return np.vstack([constant, linear.T / variance, pairs.T / variance])

        known, stranger = weights(1.0), weights(WIDENING)
        both = np.hstack([known, stranger])
        both[0] += np.tile(self.prior, 2)
        return _Numbers(at, first, second, known, both, -0.5 * len(at) - logs)

    # --- files --------------------------------------------------------------------------------------------------------

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """As plain arrays by name."""
        layout = self.layout
        return {
            **{name: getattr(self, name) for name in _ARRAYS},
            "category_names": np.array(list(layout.categories), dtype=np.str_),
            **{f"categories.{number}": np.array(values, dtype=np.str_) for number, values in enumerate(layout.categories.values())},
            "scale_names": np.array(list(layout.scales), dtype=np.str_),
            "scales": np.array(list(layout.scales.values()), dtype=np.float64).reshape(-1, 2),
            "informative": np.array(sorted(layout.informative), dtype=np.str_),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Read what `to_arrays` gave.

        Raises:
            ValueError: if an array is missing or of another shape.
        """
        try:
            names, scales = arrays["category_names"].tolist(), arrays["scales"].tolist()
            layout = Layout(
                {name: tuple(arrays[f"categories.{number}"].tolist()) for number, name in enumerate(names)},
                {name: (mean, sd) for name, (mean, sd) in zip(arrays["scale_names"].tolist(), scales, strict=True)},
                frozenset(arrays["informative"].tolist()),
            )
            result = cls(layout, **{name: arrays[name] for name in _ARRAYS})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not likelihoods of groups: {error}") from error
        if result.known.shape != (layout.height, len(result.names)):
            raise ValueError(f"not likelihoods of groups: table of shape {result.known.shape}")
        return result

    def to_bytes(self) -> bytes:
        """As an .npz archive of plain arrays."""
        return to_npz(self.to_arrays())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: if the bytes are none.
        """
        return cls.from_arrays(from_npz(data))


def _row_evidence(masses: Sequence[float], group: int, typicality: float) -> RowEvidence:
    """What a row says by the masses of positive groups, negative ones and strangers."""
    positive, negative, stranger = masses
    margin = math.log(max(negative, LEAST_MASS)) - math.log(max(positive + stranger, LEAST_MASS))
    return RowEvidence(positive / (positive + negative), margin, group, round(max(typicality, -1e6), 4))


def _rounded(typicality: Float64) -> Float64:
    return np.asarray(np.maximum(typicality, -1e6).round(4))


_ARRAYS = ("known", "stranger", "surprise", "means", "spreads", "correlation", "prior", "positive", "names", "silent")


# --- fitting ---------------------------------------------------------------------------------------------------------


def fit_group_likelihood(
    codes: Codes,
    y: npt.NDArray[np.int8],
    component: Index,
    names: npt.NDArray[np.int64],
    schema: DatasetSchema,
    informative: frozenset[str] | None = None,
) -> GroupLikelihood:
    """Describe groups by the rows in each, which are in memory.

    Args:
        codes: n training rows.
        y: int8 [n].
        component: int [n], the group of each row, 0 ... K - 1, none empty.
        names: int64 [K], the group that each is, or -1.
        schema: the contract.
        informative: columns whose empty cell is a value of its own; None: as the contract says.
    """
    rows = ComponentRows(codes, y, component)
    return likelihood_of(count_components(BatchSequence([rows]), len(names), schema), rows, names, schema, informative)


def likelihood_of(
    counted: ComponentCounts,
    chosen: ComponentRows,
    names: npt.NDArray[np.int64],
    schema: DatasetSchema,
    informative: frozenset[str] | None = None,
) -> GroupLikelihood:
    """The likelihoods of groups that were counted.

    Args:
        counted: of all training rows, none of the K groups empty.
        chosen: rows of which the correlation of numbers is taken.
        names: int64 [K], the group that each is, or -1.
        schema: the contract.
        informative: see `fit_group_likelihood`.
    """
    informative = schema.informative if informative is None else informative
    sizes = counted.values.sizes.astype(np.float64)
    categories, tables, silent = {}, [], []
    for name in schema.nominal:
        categories[name] = counted.categories(name)
        counts = counted.values.counts[name][[1, *(code + 1 for code in counted.seen(name))]].astype(np.float64)
        tables.append(_nominal(counts, categories[name], schema.columns[name], with_empty=name in informative))
        silent.append(counts[1:].sum(axis=0) + (counts[0] if name in informative else 0) == 0)
    scales: dict[str, tuple[float, float]] = {}
    means, spreads, residuals = [], [], []
    for name in schema.numeric:
        scales[name] = scale_of(counted.values.moments[name], LEAST_SCALE)
        numbers = counted.numbers[name].rescaled(counted.scales[name][1] / scales[name][1])
        n = numbers.n.astype(np.float64)
        variance = numbers.squares / np.maximum(n, 1)
        means.append(numbers.means)
        spreads.append(np.where(n > 0, np.hypot(np.sqrt(variance), schema.columns[name].error_rate), 1.0).clip(LEAST_SPREAD))
        z = (chosen.codes.numeric[name] - scales[name][0]) / scales[name][1]
        residuals.append((z - numbers.means[chosen.component]) / np.maximum(spreads[-1][chosen.component], LEAST_SPREAD))
        silent.append(n == 0)
        recorded = np.stack([n, sizes - n]) if name in informative else None
        tables.append(_recorded(recorded, len(sizes)))
    layout = Layout(categories, scales, informative)
    known, stranger, surprise = (np.vstack(parts).astype(np.float32) for parts in zip(*tables, strict=True))
    return GroupLikelihood(
        layout,
        known,
        stranger,
        surprise,
        means=np.array(means).reshape(len(scales), len(sizes)).T,
        spreads=np.array(spreads).reshape(len(scales), len(sizes)).T,
        correlation=_correlation(residuals),
        prior=np.log(sizes / sizes.sum()),
        positive=counted.values.positives / sizes,
        names=names,
        silent=np.array(silent),
    )


def _nominal(counts: Float64, values: tuple[str, ...], column: Column, *, with_empty: bool) -> tuple[Float64, Float64, Float64]:
    """The tables `known`, `stranger`, `surprise` of one column: [FIRST_VALUE + values, K] each."""
    used = counts if with_empty else counts[1:]
    total = used.sum(axis=0)
    silent = total == 0
    pseudo = PSEUDO_COUNT * (1 + len(used))
    shares = (used + PSEUDO_COUNT) / (total + pseudo)
    never = PSEUDO_COUNT / (total + pseudo)
    common = shares[:, ~silent].mean(axis=1) if (~silent).any() else np.full(len(used), 1.0 / max(len(used), 1))
    offset = int(with_empty)
    shares[offset:] = _misread(shares[offset:], values, column)
    shares[:, silent] = common[:, np.newaxis]
    never = np.where(silent, float(never[~silent].mean()) if (~silent).any() else 1.0, never)
    known = _rows(np.log(shares), np.log(never), with_empty=with_empty)
    changed = np.log((1 - MUTATION) * shares + MUTATION * common[:, np.newaxis])
    stranger = _rows(changed, np.log((1 - MUTATION) * never + MUTATION * PSEUDO_COUNT), with_empty=with_empty)
    average = (shares * np.log(shares)).sum(axis=0)
    surprise = np.where(silent, 0.0, known - average)
    surprise[NOT_OBSERVED] = 0.0
    if not with_empty:
        surprise[EMPTY] = 0.0
    return known, stranger, surprise


def _rows(shares: Float64, never: Float64, *, with_empty: bool) -> Float64:
    """Log shares as a table's rows: never seen, not observed, recorded as empty, each value."""
    nothing = np.zeros_like(never)
    empty, values = (shares[0], shares[1:]) if with_empty else (nothing, shares)
    return np.vstack([never, nothing, empty, values])


def _misread(shares: Float64, values: tuple[str, ...], column: Column) -> Float64:
    """Shares of what is seen, from shares of what is: with the column's declared confusions, else any value for any other."""
    rate = column.error_rate
    if not rate or len(values) < 2:
        return shares
    place = {value: number for number, value in enumerate(values)}
    seen_as = np.eye(len(values))
    partners: dict[str, set[str]] = {value: set() for value in values}
    for pair in column.confusions:
        for value in pair:
            if value in partners:
                partners[value] |= {other for other in pair if other != value and other in place}
    for value, at in place.items():
        others = (
            [place[other] for other in partners[value]] if column.confusions else [other for other in range(len(values)) if other != at]
        )
        if others:
            seen_as[at, at] = 1 - rate
            seen_as[at, others] = rate / len(others)
    return seen_as.T @ shares


def _recorded(counts: Float64 | None, groups: int) -> tuple[Float64, Float64, Float64]:
    """The tables of whether a numeric column has a number: [FIRST_VALUE, K] each; all 0 where that says nothing."""
    nothing = np.zeros((FIRST_VALUE, groups))
    if counts is None:
        return nothing, nothing.copy(), nothing.copy()
    shares = (counts + PSEUDO_COUNT) / (counts.sum(axis=0) + 2 * PSEUDO_COUNT)
    common = shares.mean(axis=1, keepdims=True)
    known, stranger, surprise = nothing.copy(), nothing.copy(), nothing.copy()
    rows = [NEVER_SEEN, EMPTY]
    known[rows] = np.log(shares)
    stranger[rows] = np.log((1 - MUTATION) * shares + MUTATION * common)
    surprise[rows] = known[rows] - (shares * np.log(shares)).sum(axis=0)
    return known, stranger, surprise


def _correlation(residuals: list[Float64]) -> Float64:
    """Correlation within groups of q numeric columns, drawn a little towards none; none at all for many columns."""
    q = len(residuals)
    result = np.eye(q)
    if not 1 < q <= MOST_CORRELATED:
        return result
    stacked = np.array(residuals)
    for i in range(q):
        for j in range(i):
            both = ~np.isnan(stacked[i]) & ~np.isnan(stacked[j])
            if both.sum() > 2:
                a, b = stacked[i, both], stacked[j, both]
                size = float(np.sqrt((a * a).sum() * (b * b).sum()))
                result[i, j] = result[j, i] = float((a * b).sum()) / size if size else 0.0
    # Pairs with different rows missing need not fit together: the least eigenvalue is kept away from 0.
    values, vectors = np.linalg.eigh(0.98 * result + 0.02 * np.eye(q))
    positive = (vectors * values.clip(0.02)) @ vectors.T
    diagonal = np.sqrt(np.diag(positive))
    return np.asarray(positive / np.outer(diagonal, diagonal))
