"""The training rows as an estimator takes them: encoded, in memory or batch by batch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from sporeprint.data.dataset import Observations
from sporeprint.data.row_sample import row_keys, smallest
from sporeprint.data.training_data import KnownRows
from sporeprint.models.encoder import SCORED_ROWS, Encoder
from sporeprint.models.encoder_fit import encode_training, encoder_of, fit_and_encode
from sporeprint.models.encoder_tally import FOLDS, EncoderTally, RowsWithFolds, tallied
from sporeprint.models.training import EncodedRows, TrainingRows
from sporeprint.settings import NominalTransform, NumericTransform

Transforms = Mapping[str, NominalTransform | NumericTransform]


@dataclass(frozen=True)
class RowsInFolds:
    """Stored rows, each in a fold for cross-fitting by its hash; readable again and again."""

    known: KnownRows

    def __iter__(self) -> Iterator[RowsWithFolds]:
        """Batch by batch."""
        return map(_in_folds, self.known.batches)


def _in_folds(rows: Observations) -> RowsWithFolds:
    return RowsWithFolds(rows.codes, rows.y, (row_keys(rows) % np.uint64(FOLDS)).astype(np.int64))


@dataclass(frozen=True)
class StoredTrainingRows:
    """Training rows that are read and encoded batch by batch.

    Attributes:
        rows: the rows.
        encoder: fitted on them.
        tally: what it was made from.
        transforms: see `encoder_of`.
    """

    rows: RowsInFolds
    encoder: Encoder
    tally: EncoderTally
    transforms: Transforms

    @property
    def count(self) -> int:
        """How many there are."""
        return self.tally.rows

    def __iter__(self) -> Iterator[EncodedRows]:
        """Encoded, a few at a time."""
        for batch in self.rows:
            for start in range(0, len(batch.y), SCORED_ROWS):
                part = slice(start, start + SCORED_ROWS)
                yield self._encoded(RowsWithFolds(batch.codes.take(part), batch.y[part], batch.fold[part]))

    def sample(self, most: int) -> EncodedRows:
        """At most so many of them, by hash."""
        return self._encoded(_in_folds(smallest(self.rows.known.sample, most)))

    def _encoded(self, rows: RowsWithFolds) -> EncodedRows:
        return EncodedRows(encode_training(self.encoder, self.tally, rows, self.transforms), rows.y)


def fit_encoder_and_rows(known: KnownRows, transforms: Transforms, *, seed: int) -> tuple[Encoder, TrainingRows]:
    """Fit an encoder on training rows, and have them encoded for the fit of a model.

    Args:
        known: the rows.
        transforms: see `encoder_of`.
        seed: of the folds of rows in memory; stored rows are in folds by their hash.
    """
    if known.is_whole:
        rows = known.sample
        encoder, matrix = fit_and_encode(rows.codes, rows.y, transforms, seed=seed)
        return encoder, EncodedRows(matrix, rows.y)
    folded = RowsInFolds(known)
    learned = tallied(folded)
    encoder = encoder_of(learned, transforms)
    return encoder, StoredTrainingRows(folded, encoder, learned.tally, transforms)
