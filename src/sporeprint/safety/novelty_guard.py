"""Is this row like anything the model was trained on? Novelty of mixed nominal and numeric rows, as a conformal p-value.

The training rows are described by K components: the declared groups (species), or clusters where none are declared. In a
component every column has a distribution of its own: shares of the values (missing is one, never seen another), a normal
curve for numbers. A row's typicality in a component is its log-likelihood there, less the median of the component's own
rows; its novelty is measured at the component where it is most typical. The p-value is the share of calibration rows
that are at least as novel (Vovk, Gammerman, Shafer 2005, ch. 2.2): of rows exchangeable with those, at most a share of
1 - c has a p-value of at most 1 - c, whatever the distributions. How this form was chosen: docs/decisions/0007.

A value never seen in training and a number outside the range of training each lower the typicality by `ANOMALY_PENALTY`, in
calibration rows too. Where such rows are rare, one anomaly makes a row novel; where nearly every row has some (2,000 numeric
columns), a row is novel that has more than the others. Either way the coverage is the one asked for. So does every cell that is
missing beyond as many as the emptiest training row lacks: without that a row of nothing is more typical than one with an anomaly.

A log-likelihood of this kind is a sum of look-ups, so a table of rows is one matrix product, and one row a few additions.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sporeprint.common.batches import BatchSequence
from sporeprint.common.npz import from_npz, to_npz
from sporeprint.data.coded_table import Codes
from sporeprint.safety.component_counts import ComponentCounts, ComponentNumbers, ComponentRows, count_components
from sporeprint.schema import DatasetSchema

Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: Added to every count, so that a value never seen in a component is very unlikely there, not impossible.
PSEUDO_COUNT = 1e-3
#: Smallest standard deviation of a column in a component, as a share of its standard deviation over all rows.
LEAST_SD = 0.05
#: Standardised numbers are cut off here: beyond, a row is as unknown as can be, and squares must not overflow.
FARTHEST = 1e4
#: Typicalities are rounded to so many digits, so that one row alone and the same row in a table never differ; further down than
#: the floor float64 has not so many, and a row is as novel as can be. Components as typical within TIE: the first counts.
DIGITS, FLOOR, TIE = 6, -1e6, 1e-6
#: What one anomaly (a value never seen, a number out of range, a cell missing beyond the most in training) takes from the
#: typicality: more than columns differ by otherwise.
ANOMALY_PENALTY = 1e3
#: Rows whose typicality in all components is held in memory at a time.
BLOCK_ROWS = 8_192


@dataclass(frozen=True)
class Novelty:
    """How novel n rows are.

    Attributes:
        p: float64 [n], the conformal p-value: near 0 for rows unlike any training row.
        component: int [n], the number of the component where the row is most typical.
        typicality: float64 [n], log-likelihood there, less the median of the component's own rows.
    """

    p: Float64
    component: Index
    typicality: Float64


@dataclass(frozen=True)
class Guard:
    """K components and the calibration rows' typicalities.

    Attributes:
        categories: for every nominal column the values seen in training, in order.
        scales: for every numeric column mean and standard deviation over all training rows.
        ranges: for every numeric column the smallest and the largest number in training; (inf, -inf) where there was none.
        weights: float64 [D, K], log-likelihoods. Row 0: less the median of the component's own rows. Then for a nominal column
            of k values k + 2 rows: never seen, missing, each value; for a numeric column four: missing, present, factor of z,
            factor of z².
        names: int64 [K], the group each component describes; -1 for a cluster.
        positive: float64 [K], share of positive rows in each component.
        calibration: float64 [c], sorted typicalities of rows that nothing here was fitted on.
        most_missing: missing cells of the training row that has the most; infinite in guards of releases that did not count them.
    """

    categories: Mapping[str, tuple[str, ...]]
    scales: Mapping[str, tuple[float, float]]
    ranges: Mapping[str, tuple[float, float]]
    weights: Float64
    names: npt.NDArray[np.int64]
    positive: Float64
    calibration: Float64
    most_missing: float = math.inf

    # --- tables -------------------------------------------------------------------------------------------------------

    def typicalities(self, codes: Codes) -> Float64:
        """Typicality of n rows in every component: float64 [n, K]."""
        features = self._features(codes)
        return _rounded(features @ self.weights) - ANOMALY_PENALTY * self.anomaly_counts(features)[:, np.newaxis]

    def anomaly_counts(self, features: npt.NDArray[Any]) -> Float64:
        """How many anomalies each of n rows has, as `ANOMALY_PENALTY` lists them: float64 [n].

        Args:
            features: [n, D], as the weights take them.
        """
        unseen = features[:, self._unseen_places].sum(axis=1, dtype=np.float64)
        missing = features[:, self._missing_places].sum(axis=1, dtype=np.float64)
        return np.asarray(unseen + self._out_of_range(features[:, self._z].T, features[:, self._present].T) + self._too_many(missing))

    def _too_many(self, missing: Float64) -> Float64:
        """How many of the missing cells of each row are more than any training row lacks."""
        return np.maximum(missing - self.most_missing, 0.0)

    def _out_of_range(self, z: npt.NDArray[Any], present: npt.NDArray[Any]) -> Float64:
        low, high = self._z_ranges
        return np.asarray(((present != 0) & ((z < low) | (z > high))).sum(axis=0, dtype=np.float64))

    @cached_property
    def _unseen_places(self) -> list[int]:
        return [never for _, _, never in self.look_ups]

    @cached_property
    def _missing_places(self) -> list[int]:
        """The features that say that a value is missing, of every column."""
        return [*(never + 1 for never in self._unseen_places), *range(self._z.start - 2, len(self.weights), 4)]

    @cached_property
    def _present(self) -> slice:
        """The features that say that a number is there, of every numeric column."""
        return slice(self._z.start - 1, None, 4)

    @cached_property
    def _z_ranges(self) -> tuple[Float64, Float64]:
        """The ranges of training, standardised as a row's numbers are: [q, 1] each."""
        low, high = np.array([self.ranges[name] for name in self.scales], dtype=np.float64).reshape(-1, 2).T
        means, sds = self._scales
        return tuple(((bound[:, np.newaxis] - means) / sds).clip(-FARTHEST, FARTHEST) for bound in (low, high))  # type: ignore[return-value]

    def novelty(self, codes: Codes) -> Novelty:
        """How novel the rows of a table are."""
        component = np.empty(codes.rows, dtype=np.intp)
        typicality = np.empty(codes.rows, dtype=np.float64)
        for rows in row_blocks(codes.rows):
            component[rows], typicality[rows] = self._most_typical(codes.take(rows))
        return Novelty(self.p_value(typicality), component, typicality)

    def _most_typical(self, codes: Codes) -> tuple[Index, Float64]:
        """See `most_typical`, in half the time: float32 finds the component, float64 computes its typicality.

        Where another component comes so near that rounding could have put it first, float64 decides.
        """
        places = self._places(codes)
        features = np.zeros((len(self.weights), codes.rows), dtype=np.float32)
        self._write(places, codes, features)
        sums = features.T @ self._weights32
        component, everyone = sums.argmax(axis=1), np.arange(codes.rows)
        z = features[self._z].astype(np.float64)
        near = sums[everyone, component] - self._rounding(z)
        unsure = np.count_nonzero(sums >= near[:, np.newaxis].astype(np.float32), axis=1) > 1
        # Each sum anew, of the one component: only then are z and its square as they are for a row alone.
        flat, width = self.weights.ravel(), self.weights.shape[1]
        best = flat.take(component)
        for place in places:
            best += flat.take(place * width + component)
        numbers = np.zeros((4 * len(self.scales), codes.rows), dtype=np.float64)
        first = len(self.weights) - len(numbers)
        self._write_numbers(codes.numeric, numbers)
        for at, factor in enumerate(numbers, start=first):
            best += factor * flat.take(at * width + component)
        # A place is that of a value never seen where it is the first of its column.
        unseen = sum((place == never).astype(np.float64) for place, never in zip(places, self._unseen_places, strict=True))
        missing = numbers[0::4].sum(axis=0)
        for place, never in zip(places, self._unseen_places, strict=True):
            missing += place == never + 1
        best = _rounded(best) - ANOMALY_PENALTY * (unseen + self._out_of_range(numbers[2::4], numbers[1::4]) + self._too_many(missing))
        if unsure.any():
            component[unsure], best[unsure] = self.most_typical(self._features(codes.take(unsure)))
        return component, best

    @cached_property
    def _weights32(self) -> npt.NDArray[np.float32]:
        return self.weights.astype(np.float32)

    @cached_property
    def _z(self) -> slice:
        """The features that hold z, of every numeric column."""
        return slice(len(self.weights) - 4 * len(self.scales) + 2, None, 4)

    def _rounding(self, z: Float64) -> Float64:
        """How far two sums of a row in float32 can be off each other, at the most: [n].

        A sum of t terms is off by at most t + 2 roundings of the sum of their sizes (Higham 2002, ch. 3.1), each of half of eps.
        """
        largest = np.abs(self.weights).max(axis=1)
        factors = largest[self._z, np.newaxis] * np.abs(z) + largest[self._z.start + 1 :: 4, np.newaxis] * np.square(z)
        sizes = factors.sum(axis=0) + largest[0] + self._largest_of_places
        terms = 1 + len(self.categories) + 3 * len(self.scales)
        return np.asarray((terms + 2) * float(np.finfo(np.float32).eps) * sizes)

    @cached_property
    def _largest_of_places(self) -> float:
        """The largest sum that nominal columns, and constants of numeric ones, can have."""
        largest, at, total = np.abs(self.weights).max(axis=1), 1, 0.0
        for values in self.categories.values():
            total += float(largest[at : at + len(values) + 2].max())
            at += len(values) + 2
        return total + sum(float(largest[at + 4 * number : at + 4 * number + 2].max()) for number in range(len(self.scales)))

    def most_typical(self, features: Float64) -> tuple[Index, Float64]:
        """The component where each of n rows is most typical, and its typicality there: [n] each.

        Args:
            features: float64 [n, D], as the weights take them.
        """
        sums = features @ self.weights
        best = sums.max(axis=1)
        component = (sums >= best[:, np.newaxis] - TIE).argmax(axis=1)
        return component, _rounded(best) - ANOMALY_PENALTY * self.anomaly_counts(features)

    def p_value(self, typicality: Float64) -> Float64:
        """(1 + calibration rows at most as typical) / (1 + calibration rows)."""
        at_most = np.searchsorted(self.calibration, typicality, side="right")
        return np.asarray((at_most + 1.0) / (len(self.calibration) + 1.0), dtype=np.float64)

    def _features(self, codes: Codes) -> Float64:
        """What is multiplied by the weights: float64 [n, D]."""
        features = np.zeros((len(self.weights), codes.rows), dtype=np.float64)
        self._write(self._places(codes), codes, features)
        return features.T

    def _places(self, codes: Codes) -> list[Index]:
        """For every nominal column the row of the weights that each of n rows takes: [n] each."""
        places, at = [], 1
        for name, values in self.categories.items():
            rows = {value: number for number, value in enumerate(values, start=2)}
            place = np.array([0, 1, *(rows.get(value, 0) for value in codes.vocabulary[name])])
            places.append(at + place.take(codes.nominal[name] + np.int16(1)))
            at += len(values) + 2
        return places

    def _write(self, places: Sequence[Index], codes: Codes, features: npt.NDArray[Any]) -> None:
        """Write [D, n]: feature by feature in memory, as a nominal column sets one of them a row."""
        features[0] = 1.0
        everyone = np.arange(codes.rows)
        for place in places:
            features[place, everyone] = 1.0
        self.write_numbers(codes.numeric, features)

    def write_numbers(self, values: Mapping[str, Float64], features: npt.NDArray[Any]) -> None:
        """Write what the weights take of numeric columns.

        Args:
            values: column -> float64 [n], NaN where missing.
            features: [D, n] to write into.
        """
        self._write_numbers(values, features[len(self.weights) - 4 * len(self.scales) :])

    def _write_numbers(self, values: Mapping[str, Float64], factors: npt.NDArray[Any]) -> None:
        """The same into their part of it: [4 q, n]."""
        if not self.scales:
            return
        parts = factors.reshape(len(self.scales), 4, -1)  # a view: only the first axis is split
        means, sds = self._scales
        with np.errstate(over="ignore"):  # beyond the farthest anyway
            z = (np.array([values[name] for name in self.scales]) - means) / sds
        z.clip(-FARTHEST, FARTHEST, out=z)
        missing = np.isnan(z)
        parts[:, 0] = missing
        parts[:, 1] = ~missing
        z[missing] = 0.0
        parts[:, 2] = z
        parts[:, 3] = np.square(z, out=z)

    @cached_property
    def _scales(self) -> tuple[Float64, Float64]:
        """Means and standard deviations of the q numeric columns: [q, 1] each."""
        scales = np.array(list(self.scales.values()), dtype=np.float64).reshape(-1, 2)
        return scales[:, :1], scales[:, 1:]

    # --- one row ------------------------------------------------------------------------------------------------------

    def row(self, row: Mapping[str, str | float | None]) -> tuple[float, int]:
        """P-value and most typical component of one row, by look-ups; the same numbers as `novelty`.

        Args:
            row: column -> code, number or None. A column left out is missing, and so is NaN.
        """
        get = row.get
        places = [look_up.get(get(name), never) for name, look_up, never in self.look_ups]
        anomalies: float = sum(map(int.__eq__, places, self._unseen_places))
        missing = sum(map(int.__eq__, places, self._missing_places))  # of nominal columns, which stand first
        factors = [1.0] * (len(places) + 1)
        places.append(0)
        for name, at, mean, sd, low, high in self._numbers:
            number = get(name)
            if number is None or number != number:
                places.append(at)
                factors.append(1.0)
                missing += 1
            else:
                z = min(max((float(number) - mean) / sd, -FARTHEST), FARTHEST)
                places += (at + 1, at + 2, at + 3)
                factors += (1.0, z, z * z)
                anomalies += z < low or z > high
        anomalies += max(missing - self.most_missing, 0)
        sums = np.dot(factors, self.weights.take(places, axis=0))
        best = float(sums.max())
        at_most = bisect_right(self._ordered, max(round(best, DIGITS), FLOOR) - ANOMALY_PENALTY * anomalies)
        return (at_most + 1.0) / (len(self._ordered) + 1.0), int((sums >= best - TIE).argmax())

    @cached_property
    def _ordered(self) -> list[float]:
        ordered: list[float] = self.calibration.tolist()
        return ordered

    @cached_property
    def look_ups(self) -> tuple[tuple[str, dict[Any, int], int], ...]:
        """For every nominal column: value -> row of the weights, and the row of values never seen."""
        tables, at = [], 1
        for name, values in self.categories.items():
            rows: dict[Any, int] = {None: at + 1}
            rows.update({value: at + number for number, value in enumerate(values, start=2)})
            tables.append((name, rows, at))
            at += len(values) + 2
        return tuple(tables)

    @cached_property
    def _numbers(self) -> tuple[tuple[str, int, float, float, float, float], ...]:
        """Every numeric column: name, first row of its weights, mean, standard deviation, and its standardised range."""
        at = 1 + sum(len(values) + 2 for values in self.categories.values())
        low, high = (bound.ravel().tolist() for bound in self._z_ranges)
        return tuple(
            (name, at + 4 * number, mean, sd, low[number], high[number]) for number, (name, (mean, sd)) in enumerate(self.scales.items())
        )

    # --- files --------------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """As an .npz archive of plain arrays; equal guards give equal bytes."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "weights": self.weights,
            "names": self.names,
            "positive": self.positive,
            "calibration": self.calibration,
            "most_missing": np.array(self.most_missing, dtype=np.float64),
            "scale_names": np.array(list(self.scales), dtype=np.str_),
            "scales": np.array(list(self.scales.values()), dtype=np.float64).reshape(-1, 2),
            "ranges": np.array([self.ranges[name] for name in self.scales], dtype=np.float64).reshape(-1, 2),
            "category_names": np.array(list(self.categories), dtype=np.str_),
            **{f"categories.{number}": np.array(values, dtype=np.str_) for number, values in enumerate(self.categories.values())},
        }
        return to_npz(arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: if the bytes are no guard.
        """
        try:
            arrays = from_npz(data)
            names = arrays["category_names"].tolist()
            scales = zip(arrays["scale_names"].tolist(), arrays["scales"].tolist(), strict=True)
            ranges = zip(arrays["scale_names"].tolist(), arrays["ranges"].tolist(), strict=True)
            guard = cls(
                categories={name: tuple(arrays[f"categories.{number}"].tolist()) for number, name in enumerate(names)},
                scales={name: (mean, sd) for name, (mean, sd) in scales},
                ranges={name: (low, high) for name, (low, high) in ranges},
                **{key: arrays[key] for key in ("weights", "names", "positive", "calibration")},
                most_missing=float(arrays.get("most_missing", math.inf)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a guard: {error}") from error
        rows = 1 + sum(len(values) + 2 for values in guard.categories.values()) + 4 * len(guard.scales)
        if guard.weights.shape != (rows, len(guard.names)) or len(guard.positive) != len(guard.names):
            raise ValueError(f"not a guard: weights of shape {guard.weights.shape}, expected ({rows}, {len(guard.names)})")
        return guard


def _rounded(typicality: Float64) -> Float64:
    """In place: to `DIGITS` digits, and not below `FLOOR`."""
    return np.maximum(np.round(typicality, DIGITS, out=typicality), FLOOR, out=typicality)


def row_blocks(rows: int) -> Iterator[slice]:
    """Slices of `BLOCK_ROWS` rows that cover a table."""
    return (slice(start, min(start + BLOCK_ROWS, rows)) for start in range(0, rows, BLOCK_ROWS))


# --- fitting ---------------------------------------------------------------------------------------------------------


def fit_components(codes: Codes, y: npt.NDArray[np.int8], component: Index, names: npt.NDArray[np.int64], schema: DatasetSchema) -> Guard:
    """Describe components by the rows in each, which are in memory; not calibrated yet.

    Args:
        codes: n training rows.
        y: int8 [n].
        component: int [n], the component of each row, 0 ... K - 1, none empty.
        names: int64 [K], the group that each component is, or -1.
        schema: the contract.
    """
    rows = ComponentRows(codes, y, component)
    return guard_of(count_components(BatchSequence([rows]), len(names), schema), rows, names)


def guard_of(counted: ComponentCounts, chosen: ComponentRows, names: npt.NDArray[np.int64]) -> Guard:
    """The guard of components that were counted; not calibrated yet.

    Args:
        counted: of all training rows, none of the K components empty.
        chosen: rows of every component, of which the medians are taken.
        names: int64 [K], the group that each component is, or -1.
    """
    values = counted.values
    sizes = values.sizes.astype(np.float64)
    nominal = [_nominal_weights(values.counts[name][[0, 1, *(code + 1 for code in counted.seen(name))]], sizes) for name in values.counts]
    numeric = [_numeric_weights(numbers, sizes) for numbers in counted.numbers.values()]
    guard = Guard(
        {name: counted.categories(name) for name in values.counts},
        counted.scales,
        {name: (moments.low, moments.high) for name, moments in values.moments.items()},
        np.vstack([np.zeros((1, len(names))), *nominal, *numeric]),
        names,
        values.positives / sizes,
        np.empty(0, dtype=np.float64),
        float(values.most_missing),
    )
    guard.weights[0] = -own_medians(guard, chosen.codes, chosen.component)
    return guard


def _nominal_weights(counts: npt.NDArray[np.int64], sizes: Float64) -> Float64:
    """Log shares, of counts [k + 2, K]: never seen, missing, each kept value."""
    return np.asarray(np.log((counts + PSEUDO_COUNT) / (sizes + PSEUDO_COUNT * len(counts))))


def _numeric_weights(numbers: ComponentNumbers, sizes: Float64) -> Float64:
    """[4, K]: log share missing, log share present with the normal curve's constant, factors of z and z²."""
    present, means = numbers.n.astype(np.float64), numbers.means
    variance = numbers.squares / np.maximum(present, 1.0)
    # A component that never has a value here knows nothing of it: the curve of all rows.
    spread = np.where(present > 0, np.maximum(np.sqrt(variance), LEAST_SD), 1.0)
    log_missing = np.log((sizes - present + PSEUDO_COUNT) / (sizes + 2 * PSEUDO_COUNT))
    log_present = np.log((present + PSEUDO_COUNT) / (sizes + 2 * PSEUDO_COUNT))
    precision = 1.0 / spread**2
    constant = log_present - np.log(spread) - 0.5 * means**2 * precision
    return np.vstack([log_missing, constant, means * precision, -0.5 * precision])


def own_medians(guard: Guard, codes: Codes, component: Index) -> Float64:
    """The median typicality of each component's own rows: float64 [K]."""
    own = np.concatenate(
        [guard.typicalities(codes.take(rows))[np.arange(rows.stop - rows.start), component[rows]] for rows in row_blocks(codes.rows)]
    )
    order = np.argsort(component, kind="stable")
    parts = np.split(own[order], np.cumsum(np.bincount(component, minlength=len(guard.names)))[:-1])
    return np.array([np.median(part) for part in parts])


def calibrate_guard(guard: Guard, codes: Codes) -> Guard:
    """The guard with the typicalities of calibration rows, which nothing was fitted on."""
    return replace(guard, calibration=np.sort(guard.novelty(codes).typicality))
