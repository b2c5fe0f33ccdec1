"""Fits an encoder: what training rows teach of every column, and the numbers that these rows themselves get."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sporeprint.common.batches import BatchSequence
from sporeprint.data.coded_table import MISSING, UNKNOWN, Codes
from sporeprint.models.encoder import ROUNDING, Encoder, Encoding, Labels, Matrix, NominalEncoding, NumericEncoding
from sporeprint.models.encoder_tally import FOLDS, EncoderTally, NominalTally, NumberTally, RowsWithFolds, TrainingCounts, training_counts
from sporeprint.schema import DatasetSchema, Kind
from sporeprint.settings import ModelSettings, NominalTransform, NumericTransform, TransformSettings

#: Rows of the overall mean that a category's mean is mixed with (target_mean), so that rare categories stay near it.
SMOOTHING = 10.0

#: A value that so many training rows hold is given its own number in all of them: one label moves it by 1 % at most.
OWN_NUMBER = 100
#: A value that fewer training rows hold has no number by the label: it is encoded like a value never seen.
LEAST_ROWS = 5
#: Most values of a column with a feature each (one_hot); the rarest of the others are encoded like values never seen.
MOST_FEATURES = 300

#: What is read off a date for further features; the hour only where there are times of day.
DATE_PARTS = ("month", "weekday", "hour")


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
    """Fit an encoder on training rows in memory; see `encoder_of`.

    Args:
        codes: n training rows.
        y: int8 [n], 1 for the positive class.
        chosen: for every column what is to be done, see `column_transforms`.
    """
    return encoder_of(training_counts(BatchSequence([RowsWithFolds(codes, y, np.zeros(codes.rows, dtype=np.int64))])), chosen)


def encoder_of(learned: TrainingCounts, chosen: Mapping[str, NominalTransform | NumericTransform]) -> Encoder:
    """The encoder that training rows teach.

    Args:
        learned: what was counted in them.
        chosen: for every column what is to be done, see `column_transforms`; its order is the order of the matrix.
    """
    columns: list[Encoding] = []
    for name, choice in chosen.items():
        if isinstance(choice, NominalTransform):
            columns.append(_fit_nominal(name, learned.tally.nominal[name], choice))
        else:
            columns.append(_fit_numeric(name, learned.tally.numeric[name], learned.quartiles.get(name), choice))
    return Encoder(tuple(columns))


def fit_and_encode(
    codes: Codes, y: Labels, chosen: Mapping[str, NominalTransform | NumericTransform], *, seed: int
) -> tuple[Encoder, Matrix]:
    """Fit an encoder on training rows in memory, and encode them for the fit of a model; see `encode_training`.

    Args:
        codes: n training rows.
        y: int8 [n], 1 for the positive class.
        chosen: see `encoder_of`.
        seed: of the folds.

    Returns:
        The encoder, and float32 [n, m].
    """
    rows = RowsWithFolds(codes, y, _folds(y, seed))
    learned = training_counts(BatchSequence([rows]))
    encoder = encoder_of(learned, chosen)
    return encoder, encode_training(encoder, learned.tally, rows, chosen)


def encode_training(
    encoder: Encoder, tally: EncoderTally, rows: RowsWithFolds, chosen: Mapping[str, NominalTransform | NumericTransform]
) -> Matrix:
    """Encode training rows for the fit of a model: float32 [n, m].

    Numbers that come from the label (`ordinal`, `target_mean`) are cross-fitted: a training row's number is taken from rows of
    other folds, since its own label would leak into it; with as many values as rows the model would read the label off.
    The matrix is therefore not `Encoder.matrix` of the same rows, which is what every other row gets.

    Args:
        encoder: fitted on these rows, and perhaps others.
        tally: what was counted in all of them.
        rows: n of them.
        chosen: see `encoder_of`.
    """
    matrix = encoder.matrix(rows.codes)
    for at, column in encoder.offsets:
        choice = chosen[column.name]
        if isinstance(column, NominalEncoding) and isinstance(choice, NominalTransform) and not column.one_hot:
            _cross_fit(column, choice, rows, tally.nominal[column.name], matrix[:, at])
    return matrix


def _folds(y: Labels, seed: int) -> npt.NDArray[np.int64]:
    """A fold for every row, each with the same share of both classes: otherwise the mean of the others would tell of a fold's own."""
    order = np.random.default_rng(seed).permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    fold = np.empty(len(y), dtype=np.int64)
    fold[order] = np.arange(len(y)) % FOLDS
    return fold


def _cross_fit(
    column: NominalEncoding, choice: NominalTransform, rows: RowsWithFolds, tally: NominalTally, out: npt.NDArray[np.float32]
) -> None:
    """Write the cross-fitted numbers of the rows whose value at least `LEAST_ROWS` and fewer than `OWN_NUMBER` rows hold."""
    index = {value: number for number, value in enumerate(tally.vocabulary, start=2)}
    # The place in the tally of each of this batch's codes, which may be in another vocabulary.
    places = np.array([0, 1, *(index[value] for value in rows.codes.vocabulary[column.name])])[rows.codes.nominal[column.name] + 1]
    counts, positives = tally.counts.sum(axis=0), tally.positives.sum(axis=0)
    few = np.flatnonzero((counts[places] >= LEAST_ROWS) & (counts[places] < OWN_NUMBER) & (places > MISSING + 1))
    if not len(few):
        return
    ranks = np.zeros(len(counts))
    if choice.encode == "ordinal":
        # The number is a rank: a mean of the other folds stands between the ranks of the means around it.
        order = [index[value] for value in column.categories]
        ranks[order] = column.numbers
        ladder = np.maximum.accumulate(_smoothed(counts, positives)[order])
    for number in range(FOLDS):
        mine = few[rows.fold[few] == number]
        other = _smoothed(counts - tally.counts[number], positives - tally.positives[number])[places[mine]]
        out[mine] = other if choice.encode == "target_mean" else np.interp(other, ladder, column.numbers)


def _smoothed(counts: npt.NDArray[np.int64], positives: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The positive share by code + 1, shrunk towards the overall share (Micci-Barreca 2001)."""
    counts, positives = counts.copy(), positives.copy()
    counts[UNKNOWN + 1] = positives[UNKNOWN + 1] = 0  # unknown values teach nothing
    overall = positives.sum() / max(counts.sum(), 1)
    means: npt.NDArray[np.float64] = (positives + SMOOTHING * overall) / (counts + SMOOTHING)
    return means


def _fit_nominal(name: str, tally: NominalTally, choice: NominalTransform) -> NominalEncoding:
    vocabulary = tally.vocabulary
    # Counts by code: unknown values come first in the tally, and teach nothing.
    counts = tally.counts.sum(axis=0)[1:]
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
    # The last is of a value that no row holds: the overall share.
    means = _smoothed(np.append(tally.counts.sum(axis=0), 0), np.append(tally.positives.sum(axis=0), 0))[1:]
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


def _fit_numeric(name: str, tally: NumberTally, quartiles: npt.NDArray[np.float64] | None, choice: NumericTransform) -> NumericEncoding:
    parts = tuple(part for part in choice.parts if part != "hour" or tally.has_parts)
    if quartiles is None:  # nothing to learn from: every value passes as it is, missing is the constant or 0
        return NumericEncoding(name, 0.0, 1.0, choice.constant or 0.0, choice.indicator, None, None, parts)
    moments = tally.moments
    mean, median = min(max(moments.mean, moments.low), moments.high), float(quartiles[1])
    center, scale = {
        "standard": (mean, moments.sd),
        "robust": (median, float(quartiles[2] - quartiles[0])),
        "none": (0.0, 1.0),
    }[choice.encode]
    fill = median if choice.impute == "median" else mean if choice.constant is None else choice.constant
    # Rounding alone spreads equal numbers by so much; divided by that, any other number would be enormous.
    if scale <= ROUNDING * moments.largest:
        scale = 1.0
    return NumericEncoding(name, center, scale, fill, choice.indicator, moments.low, moments.high, parts)
