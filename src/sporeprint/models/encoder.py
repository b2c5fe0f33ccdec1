"""From codes to the numbers a model sees: fitted once on training rows, applied to any row, anywhere.

An `Encoder` is a frozen value object that serialises to JSON. It has two ways to the same numbers: `matrix` for whole
tables, and `encode_row`, dictionary look-ups into a preallocated array, for one row at a time. In every encoding a
missing value, a value that was never seen in training, and a known value are three different things.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sporeprint.common.dates import date_part
from sporeprint.data.coded_table import LARGEST, MISSING, UNKNOWN, Codes
from sporeprint.schema import DatasetSchema, Kind
from sporeprint.settings import ModelSettings, NominalTransform, NumericTransform, TransformSettings

Matrix = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int8]

#: Rows of the overall mean that a category's mean is mixed with (target_mean), so that rare categories stay near it.
SMOOTHING = 10.0

#: Folds in which orders and means by the label are cross-fitted.
FOLDS = 5
#: A value that so many training rows hold is given its own number in all of them: one label moves it by 1 % at most.
OWN_NUMBER = 100
#: A value that fewer training rows hold has no number by the label: it is encoded like a value never seen.
LEAST_ROWS = 5
#: Most values of a column with a feature each (one_hot); the rarest of the others are encoded like values never seen.
MOST_FEATURES = 300

#: What is read off a date for further features; the hour only where there are times of day.
DATE_PARTS = ("month", "weekday", "hour")

#: Relative to a column's numbers, a spread that is none.
ROUNDING = 10 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class NominalEncoding:
    """One nominal column.

    Attributes:
        name: the dataset's column.
        one_hot: one 0/1 feature per value (and one for missing), or one number per value.
        categories: the values seen in training, in order.
        numbers: for the one-number encodings, the number of each category; empty for one_hot.
        rare: further values seen in training, too rare for a feature or number of their own; encoded as `unseen` ones are.
        missing: the number that stands for a missing value, or for one_hot the category it is read as, counted from 1
            (0: a feature of its own).
        unseen: the number that stands for a value never seen in training; not used by one_hot, where no feature is set.
    """

    name: str
    one_hot: bool
    categories: tuple[str, ...]
    numbers: tuple[float, ...]
    missing: float
    unseen: float
    rare: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[str, ...]:
        """All values seen in training."""
        return self.categories + self.rare

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the matrix columns."""
        if not self.one_hot:
            return (self.name,)
        own = (f"{self.name}:missing",) if self.missing == 0 else ()
        return (*own, *(f"{self.name}={value}" for value in self.categories))

    def table(self) -> Matrix:
        """Look-up table: row 0 for unseen, row 1 for missing, row i + 2 for known value i. Shape [k + 2, width]."""
        if not self.one_hot:
            numbers = (self.unseen, self.missing, *self.numbers, *(self.unseen for _ in self.rare))
            return np.array(numbers, dtype=np.float32)[:, np.newaxis]
        if self.rare:
            frequent = replace(self, rare=()).table()
            return np.concatenate([frequent, np.zeros((len(self.rare), frequent.shape[1]), dtype=np.float32)])
        own = int(self.missing == 0)
        table = np.zeros((len(self.categories) + 2, len(self.categories) + own), dtype=np.float32)
        table[np.arange(len(self.categories)) + 2, np.arange(len(self.categories)) + own] = 1
        table[1] = table[int(self.missing) + 1] if self.missing else 0
        if own:
            table[1, 0] = 1
        return table


@dataclass(frozen=True)
class NumericEncoding:
    """One numeric column: (x - center) / scale, `fill` where missing.

    Attributes:
        name: the dataset's column.
        center: subtracted, in the column's unit.
        scale: divided by, in the column's unit; never 0.
        fill: the value that stands for a missing one, in the column's unit.
        indicator: whether a further 0/1 feature says that the value was missing.
        low: smallest value in training, in the column's unit; None if none was seen.
        high: largest value in training.
        parts: of a date, what is read off it for further features: see `sporeprint.common.dates.PARTS`.
    """

    name: str
    center: float
    scale: float
    fill: float
    indicator: bool
    low: float | None
    high: float | None
    parts: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the matrix columns."""
        own = (self.name, f"{self.name}:missing") if self.indicator else (self.name,)
        return (*own, *(f"{self.name}:{part}" for part in self.parts))


Encoding = NominalEncoding | NumericEncoding


@dataclass(frozen=True)
class Encoder:
    """The fitted transform: one encoding a column, in the order of the schema."""

    columns: tuple[Encoding, ...]

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Names of the m matrix columns."""
        return tuple(feature for column in self.columns for feature in column.features)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """For each of the m matrix columns, the dataset's column that it comes from."""
        return tuple(column.name for column in self.columns for _ in column.features)

    @cached_property
    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        """For every nominal column the values seen in training."""
        return {column.name: column.known for column in self.columns if isinstance(column, NominalEncoding)}

    def matrix(self, codes: Codes) -> Matrix:
        """Encode a table.

        Args:
            codes: n rows, in any vocabulary: a value that was not seen in training is unseen, whatever its code.

        Returns:
            float32 [n, m], C-contiguous, without NaN.
        """
        # Feature by feature into memory that lies together, then turned: half the time of writing across the rows.
        features = np.empty((len(self.features), codes.rows), dtype=np.float32)
        at = 0
        for column in self.columns:
            width = len(column.features)
            if isinstance(column, NominalEncoding):
                table = column.table()[_rows_of(column.known, codes.vocabulary[column.name])]
                # Codes are never out of range; a mode is named because the default one copies.
                np.take(table.T, codes.nominal[column.name] + np.int16(1), axis=1, out=features[at : at + width], mode="clip")
            at += width
        self.write_numbers(codes.numeric, features.T)
        return np.ascontiguousarray(features.T)

    def write_numbers(self, values: Mapping[str, npt.NDArray[np.float64]], out: Matrix) -> None:
        """Encode the numeric columns of n rows, to the same numbers as `matrix`.

        Args:
            values: column -> float64 [n], NaN where missing.
            out: float32 [n, m] to write into.
        """
        if not self._numbers:
            return
        places, flagged, flags, centers, scales, fills = self._number_arrays
        numbers = np.array([values[column.name] for _, column in self._numbers])
        missing = np.isnan(numbers)
        np.copyto(numbers, fills, where=missing)
        numbers -= centers
        numbers /= scales
        out.T[places] = numbers.clip(-LARGEST, LARGEST, out=numbers)
        if len(flags):
            out.T[flags] = missing[flagged]
        for at, column in self._dates:
            for place, part in enumerate(column.parts, at + 1 + column.indicator):
                out[:, place] = date_part(np.asarray(values[column.name], dtype=np.float64), part)

    def encode_row(self, row: Mapping[str, str | float | None], out: Matrix | None = None) -> Matrix:
        """Encode one row by look-ups, to the same numbers as `matrix`.

        Args:
            row: column -> code, number or None. A column left out is missing, and so is NaN.
            out: float32 [m] to write into, so that nothing is allocated; a new array if left out.

        Returns:
            float32 [m].
        """
        out = np.empty(len(self.features), dtype=np.float32) if out is None else out
        out.fill(0)
        for name, look_up, unseen in self.look_ups:
            at, value = look_up.get(row.get(name), unseen)
            out[at] = value
        self.write_row_numbers(row, out)
        return out

    def write_row_numbers(self, row: Mapping[str, str | float | None], out: Matrix) -> None:
        """Encode the numeric columns of one row into float32 [m]."""
        for at, column in self._numbers:
            number = row.get(column.name)
            missing = number is None or number != number
            scaled = ((column.fill if number is None or missing else float(number)) - column.center) / column.scale
            out[at] = min(max(scaled, -LARGEST), LARGEST)
            if column.indicator:
                out[at + 1] = missing
            for place, part in enumerate(column.parts, at + 1 + column.indicator):
                out[place] = date_part(np.array([np.nan if missing else number], dtype=np.float64), part)[0]

    def unseen(self, codes: Codes) -> dict[str, npt.NDArray[np.bool_]]:
        """For every nominal column where it happens: bool [n], whether the value was never seen in training."""
        flags_by_column = {}
        for name, categories in self.vocabulary.items():
            is_category = _rows_of(categories, codes.vocabulary[name]) != 0
            flags = ~is_category.take(codes.nominal[name] + np.int16(1))
            if flags.any():
                flags_by_column[name] = flags
        return flags_by_column

    @cached_property
    def known_values(self) -> tuple[tuple[str, frozenset[str]], ...]:
        """Every nominal column with the values seen in training."""
        return tuple((name, frozenset(values)) for name, values in self.vocabulary.items())

    @cached_property
    def ranges(self) -> tuple[tuple[str, float, float], ...]:
        """Every numeric column with the smallest and the largest number seen in training; an empty range where there was none."""
        columns = [column for column in self.columns if isinstance(column, NumericEncoding)]
        return tuple(
            (column.name, math.inf if column.low is None else column.low, -math.inf if column.high is None else column.high)
            for column in columns
        )

    @cached_property
    def look_ups(self) -> tuple[tuple[str, dict[Any, tuple[int, float]], tuple[int, float]], ...]:
        """For every nominal column: value -> (matrix column, number to write there), and the pair for unseen values."""
        tables = []
        for at, column in self.offsets:
            if isinstance(column, NominalEncoding):
                table = column.table()
                pairs = [(at + int(row.argmax()), float(row.max())) if column.one_hot else (at, float(row[0])) for row in table]
                tables.append((column.name, dict(zip((None, *column.known), pairs[1:], strict=True)), pairs[0]))
        return tuple(tables)

    @cached_property
    def _number_arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Of the q numeric columns: their places, the indexes of those with an indicator and its places; center, scale, fill [q, 1]."""
        flagged = [(number, at + 1) for number, (at, column) in enumerate(self._numbers) if column.indicator]
        numbers = np.array([[column.center, column.scale, column.fill] for _, column in self._numbers], dtype=np.float64)
        places = np.array([at for at, _ in self._numbers], dtype=np.intp)
        indexes = np.array(flagged, dtype=np.intp).reshape(-1, 2)
        return places, indexes[:, 0], indexes[:, 1], *(numbers[:, [part]] for part in range(3))

    @cached_property
    def _numbers(self) -> tuple[tuple[int, NumericEncoding], ...]:
        return tuple((at, column) for at, column in self.offsets if isinstance(column, NumericEncoding))

    @cached_property
    def _dates(self) -> tuple[tuple[int, NumericEncoding], ...]:
        return tuple((at, column) for at, column in self._numbers if column.parts)

    @cached_property
    def offsets(self) -> tuple[tuple[int, Encoding], ...]:
        """Every column with the number of its first matrix column."""
        offsets, at = [], 0
        for column in self.columns:
            offsets.append((at, column))
            at += len(column.features)
        return tuple(offsets)

    def to_json(self) -> str:
        """Canonical JSON: equal encoders give equal bytes."""
        columns: list[dict[str, Any]] = [
            {"kind": "nominal" if isinstance(column, NominalEncoding) else "numeric", **asdict(column)} for column in self.columns
        ]
        for item in columns:  # of a number, as it was written before there were dates
            if not item.get("parts", True):
                del item["parts"]
        return json.dumps({"format": 1, "columns": columns}, ensure_ascii=False, allow_nan=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: if the text is not an encoder of a known format.
        """
        try:
            raw = json.loads(text)
            version, columns = raw["format"], tuple(_from_item(item) for item in raw["columns"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not an encoder of format 1: {error!r}") from error
        if version != 1:
            raise ValueError(f"not an encoder of format 1: its format is {version!r}")
        return cls(columns)


def _from_item(item: Mapping[str, Any]) -> Encoding:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in item.items()}
    kinds: dict[str, type[Encoding]] = {"nominal": NominalEncoding, "numeric": NumericEncoding}
    return kinds[fields.pop("kind")](**fields)


def _rows_of(categories: Sequence[str], vocabulary: Sequence[str]) -> npt.NDArray[np.intp]:
    """For codes -1 (unknown), 0 (missing), 1 ... of a vocabulary: the row in an encoding's look-up table."""
    rows = {category: index + 2 for index, category in enumerate(categories)}
    return np.array([0, 1, *(rows.get(value, 0) for value in vocabulary)], dtype=np.intp)


def column_transforms(
    settings: TransformSettings, model: ModelSettings, schema: DatasetSchema
) -> dict[str, NominalTransform | NumericTransform]:
    """What is to be done with every column for one model: the kind's default, under the model's wish, under the column's exception."""
    wishes: dict[str, dict[str, str | None]] = {
        "nominal": {"encode": model.nominal},
        "numeric": {"encode": model.numeric},
        "date": {"encode": model.numeric},
    }
    transforms: dict[str, NominalTransform | NumericTransform] = {}
    for name, column in schema.columns.items():
        default = settings.nominal if name in schema.nominal else settings.numeric
        wish = {key: value for key, value in wishes[column.kind].items() if value is not None}
        exception = settings.columns[name].model_dump(exclude_unset=True) if name in settings.columns else {}
        if "impute" in exception:  # the default's constant goes with the default's way to impute
            exception.setdefault("constant", None)
        if column.kind is Kind.DATE and column.since is None:
            exception.setdefault("parts", DATE_PARTS)
        transforms[name] = type(default).model_validate({**default.model_dump(), **wish, **exception})
    return transforms


def fit_encoder(codes: Codes, y: Labels, chosen: Mapping[str, NominalTransform | NumericTransform]) -> Encoder:
    """Fit an encoder on training rows.

    Args:
        codes: n training rows.
        y: int8 [n], 1 for the positive class.
        chosen: for every column what is to be done, see `choices`; its order is the order of the matrix.
    """
    columns: list[Encoding] = []
    for name, choice in chosen.items():
        if isinstance(choice, NominalTransform):
            columns.append(_fit_nominal(name, codes.nominal[name], codes.vocabulary[name], y, choice))
        else:
            columns.append(_fit_numeric(name, codes.numeric[name], choice))
    return Encoder(tuple(columns))


def fit_and_encode(
    codes: Codes, y: Labels, chosen: Mapping[str, NominalTransform | NumericTransform], *, seed: int
) -> tuple[Encoder, Matrix]:
    """Fit an encoder on training rows, and encode them for the fit of a model.

    Numbers that come from the label (`ordinal`, `target_mean`) are cross-fitted: a training row's number is taken from rows of
    other folds, since its own label would leak into it; with as many values as rows the model would read the label off.
    The matrix is therefore not `Encoder.matrix` of the same rows, which is what every other row gets.

    Args:
        codes: n training rows.
        y: int8 [n], 1 for the positive class.
        chosen: see `fit_encoder`.
        seed: of the folds.

    Returns:
        The encoder, and float32 [n, m].
    """
    encoder = fit_encoder(codes, y, chosen)
    matrix = encoder.matrix(codes)
    fold = _folds(y, seed)
    for at, column in encoder.offsets:
        choice = chosen[column.name]
        if isinstance(column, NominalEncoding) and isinstance(choice, NominalTransform) and not column.one_hot:
            _cross_fit(column, choice, codes, y, fold, matrix[:, at])
    return encoder, matrix


def _folds(y: Labels, seed: int) -> npt.NDArray[np.int64]:
    """A fold for every row, each with the same share of both classes: otherwise the mean of the others would tell of a fold's own."""
    order = np.random.default_rng(seed).permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    fold = np.empty(len(y), dtype=np.int64)
    fold[order] = np.arange(len(y)) % FOLDS
    return fold


def _cross_fit(
    column: NominalEncoding, choice: NominalTransform, codes: Codes, y: Labels, fold: npt.NDArray[np.int64], out: npt.NDArray[np.float32]
) -> None:
    """Write the cross-fitted numbers of the rows whose value at least `LEAST_ROWS` and fewer than `OWN_NUMBER` rows hold."""
    values, vocabulary = codes.nominal[column.name], codes.vocabulary[column.name]
    size = len(vocabulary) + 2
    counts = np.bincount(values + 1, minlength=size)
    few = np.flatnonzero((counts[values + 1] >= LEAST_ROWS) & (counts[values + 1] < OWN_NUMBER) & (values > MISSING))
    if not len(few):
        return
    means, ranks = _smoothed(values, y, size), np.zeros(size)
    if choice.encode == "ordinal":
        # The number is a rank: a mean of the other folds stands between the ranks of the means around it.
        order = [vocabulary.index(value) + 2 for value in column.categories]
        ranks[order] = column.numbers
        ladder = np.maximum.accumulate(means[order])
    for number in range(FOLDS):
        mine = few[fold[few] == number]
        other = _smoothed(values[fold != number], y[fold != number], size)[values[mine] + 1]
        out[mine] = other if choice.encode == "target_mean" else np.interp(other, ladder, column.numbers)


def _smoothed(values: npt.NDArray[np.int16], y: Labels, size: int) -> npt.NDArray[np.float64]:
    """The positive share by code + 1, shrunk towards the overall share (Micci-Barreca 2001)."""
    counts = np.bincount(values + 1, minlength=size)
    positives = np.bincount(values + 1, weights=y, minlength=size)
    counts[UNKNOWN + 1] = positives[UNKNOWN + 1] = 0  # unknown values teach nothing
    overall = positives.sum() / max(counts.sum(), 1)
    means: npt.NDArray[np.float64] = (positives + SMOOTHING * overall) / (counts + SMOOTHING)
    return means


def _fit_nominal(
    name: str, values: npt.NDArray[np.int16], vocabulary: Sequence[str], y: Labels, choice: NominalTransform
) -> NominalEncoding:
    # Counts by code, shifted by one so that unknown values (-1) come first; they teach nothing.
    counts = np.bincount(values + 1, minlength=len(vocabulary) + 2)[1:]
    seen = [code for code in range(1, len(vocabulary) + 1) if counts[code]]
    if choice.encode == "one_hot":
        frequent = set(sorted(seen, key=lambda code: (-counts[code], vocabulary[code - 1]))[:MOST_FEATURES])
        rare = tuple(vocabulary[code - 1] for code in seen if code not in frequent)
        seen = [code for code in seen if code in frequent]
        categories = tuple(vocabulary[code - 1] for code in seen)
        encoding = NominalEncoding(name, one_hot=True, categories=categories, numbers=(), missing=0.0, unseen=0.0, rare=rare)
        return _impute(encoding, counts[seen], choice)
    rare = tuple(vocabulary[code - 1] for code in seen if counts[code] < LEAST_ROWS)
    seen = [code for code in seen if counts[code] >= LEAST_ROWS]
    means = _smoothed(values, y, len(vocabulary) + 3)[1:]  # the last is of a value that no row holds: the overall share
    if choice.encode == "ordinal":
        # In the order of the positive share: for one split of a tree this order loses nothing (Breiman et al. 1984, ch. 4.2.2).
        # Shrunk, so that values of few rows stand in the middle.
        seen.sort(key=lambda code: (means[code], vocabulary[code - 1]))
        numbers = tuple(float(rank) for rank in range(1, len(seen) + 1))
        missing, unseen = float(MISSING), float(UNKNOWN)
    else:
        numbers = tuple(float(means[code]) for code in seen)
        missing, unseen = float(means[MISSING]), float(means[-1])
    categories = tuple(vocabulary[code - 1] for code in seen)
    return _impute(NominalEncoding(name, False, categories, numbers, missing, unseen, rare), counts[seen], choice)


def _impute(encoding: NominalEncoding, counts: npt.NDArray[np.intp], choice: NominalTransform) -> NominalEncoding:
    """Read a missing value as a category, where the choice says so and the category was seen."""
    if choice.impute == "category" or not encoding.categories:
        return encoding
    index = int(counts.argmax()) if choice.impute == "most_frequent" else _index(encoding.categories, choice.constant)
    if index is None:  # the constant was never seen in training: missing stays a value of its own
        return encoding
    return replace(encoding, missing=float(index + 1) if encoding.one_hot else encoding.numbers[index])


def _index(categories: tuple[str, ...], value: str | None) -> int | None:
    return categories.index(value) if value in categories else None


def _fit_numeric(name: str, values: npt.NDArray[np.float64], choice: NumericTransform) -> NumericEncoding:
    present = values[~np.isnan(values)]
    has_times = bool((present != np.floor(present)).any())
    parts = tuple(part for part in choice.parts if part != "hour" or has_times)
    if not len(present):  # nothing to learn from: every value passes as it is, missing is the constant or 0
        return NumericEncoding(name, 0.0, 1.0, choice.constant or 0.0, choice.indicator, None, None, parts)
    low, high = float(present.min()), float(present.max())
    quartiles = np.quantile(present, [0.25, 0.5, 0.75])
    mean, median = min(max(float(present.mean()), low), high), float(quartiles[1])
    center, scale = {
        "standard": (mean, float(present.std())),
        "robust": (median, float(quartiles[2] - quartiles[0])),
        "none": (0.0, 1.0),
    }[choice.encode]
    fill = median if choice.impute == "median" else mean if choice.constant is None else choice.constant
    # Rounding alone spreads equal numbers by so much; divided by that, any other number would be enormous.
    if scale <= ROUNDING * max(abs(low), abs(high)):
        scale = 1.0
    return NumericEncoding(name, center, scale, fill, choice.indicator, low, high, parts)
