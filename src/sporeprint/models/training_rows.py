"""The training rows as an estimator takes them: encoded, in memory or batch by batch."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sporeprint.common.batches import BatchView, Counted, Result
from sporeprint.data.dataset import Observations
from sporeprint.data.row_sample import row_keys, smallest
from sporeprint.data.training_data import KnownRows
from sporeprint.models.encoded_rows import EncodedRows
from sporeprint.models.encoder import Encoder
from sporeprint.models.encoder_fit import encode_training, encoder_of, fit_and_encode
from sporeprint.models.encoder_tally import FOLDS, EncoderTally, RowsWithFolds, training_counts
from sporeprint.models.training import TrainingRows
from sporeprint.settings import NominalTransform, NumericTransform

Transforms = Mapping[str, NominalTransform | NumericTransform]


@dataclass(frozen=True)
class TrainingEncoding:
    """Encodes training rows, each in a fold for cross-fitting by its hash.

    Attributes:
        encoder: fitted on them.
        tally: what it was made from; only nominal columns count.
        transforms: see `encoder_of`.
    """

    encoder: Encoder
    tally: EncoderTally
    transforms: Transforms

    def __call__(self, rows: Observations) -> EncodedRows:
        """Encode some rows."""
        return EncodedRows(encode_training(self.encoder, self.tally, in_folds(rows), self.transforms), rows.y)


@dataclass(frozen=True)
class StoredTrainingRows:
    """Training rows that are encoded batch by batch, where they lie. See `Batches`.

    Attributes:
        known: the rows.
        encoding: fitted on them.
    """

    known: KnownRows
    encoding: TrainingEncoding

    @property
    def count(self) -> int:
        """How many there are."""
        return self.encoding.tally.rows

    def __iter__(self) -> Iterator[EncodedRows]:
        """See `Batches`."""
        return iter(self._batches)

    def total(self, of: Callable[[EncodedRows], Counted]) -> Counted:
        """See `Batches`."""
        return self._batches.total(of)

    def together(self, work: Callable[[Iterable[EncodedRows]], Result]) -> Result:
        """See `Batches`."""
        return self._batches.together(work)

    def sample(self, most: int) -> EncodedRows:
        """At most so many of them, by hash."""
        return self.encoding(smallest(self.known.sample, most))

    @property
    def _batches(self) -> BatchView[Observations, EncodedRows]:
        return BatchView(self.known.batches, self.encoding)


def in_folds(rows: Observations) -> RowsWithFolds:
    """Rows, each in a fold by its hash."""
    return RowsWithFolds(rows.codes, rows.y, (row_keys(rows) % np.uint64(FOLDS)).astype(np.int64))


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
    learned = training_counts(BatchView(known.batches, in_folds))
    encoder = encoder_of(learned, transforms)
    return encoder, StoredTrainingRows(known, TrainingEncoding(encoder, replace(learned.tally, numeric={}), transforms))
