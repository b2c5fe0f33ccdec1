"""Checked, labelled rows in memory: the value that splitting, fitting and evaluating pass on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from sporeprint.data.coded_table import Codes, Vocabulary, refuse_too_many

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Observations:
    """n checked rows.

    Attributes:
        codes: the features.
        y: int8 [n], 1 for the positive class.
        row: int64 [n], the row's number in the source, from 0.
        group: int64 [n], the row's group; None where the groups do not hold.
        row_hash: uint64 [n], equal for equal rows.
        part: int8 [n], number of the row's part in the split; None before the split.
        cluster: int64 [n], rows that belong together (of one patient), which promises count once; None: each different row counts.
    """

    codes: Codes
    y: npt.NDArray[np.int8]
    row: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64] | None
    row_hash: npt.NDArray[np.uint64]
    part: npt.NDArray[np.int8] | None = None
    cluster: npt.NDArray[np.int64] | None = None

    @property
    def unit(self) -> npt.NDArray[np.uint64] | npt.NDArray[np.int64]:
        """What promises and intervals count: the row's declared cluster, or else the different row that it is; [n]."""
        return self.row_hash if self.cluster is None else self.cluster

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Self:
        """The rows at an index array or under a boolean mask."""
        return type(self)(
            codes=self.codes.take(rows),
            y=self.y[rows],
            row=self.row[rows],
            group=None if self.group is None else self.group[rows],
            row_hash=self.row_hash[rows],
            part=None if self.part is None else self.part[rows],
            cluster=None if self.cluster is None else self.cluster[rows],
        )


def concat(tables: Sequence[Observations]) -> Observations:
    """Tables one below the other, in one vocabulary.

    Raises:
        DataError: if a column has more values in all than there are codes.
    """
    if len(tables) == 1:
        return tables[0]
    first = tables[0]
    vocabulary: dict[str, tuple[str, ...]] = {
        name: tuple(dict.fromkeys(value for table in tables for value in table.codes.vocabulary[name])) for name in first.codes.vocabulary
    }
    for name, values in vocabulary.items():
        refuse_too_many(name, len(values))
    return Observations(
        codes=Codes(
            vocabulary=vocabulary,
            nominal={name: np.concatenate([_recode(table.codes, name, vocabulary) for table in tables]) for name in vocabulary},
            numeric={name: np.concatenate([table.codes.numeric[name] for table in tables]) for name in first.codes.numeric},
            rows=sum(table.codes.rows for table in tables),
        ),
        y=np.concatenate([table.y for table in tables]),
        row=np.concatenate([table.row for table in tables]),
        group=_together([table.group for table in tables]),
        row_hash=np.concatenate([table.row_hash for table in tables]),
        part=_together([table.part for table in tables]),
        cluster=_together([table.cluster for table in tables]),
    )


def _together(arrays: Sequence[npt.NDArray[T] | None]) -> npt.NDArray[T] | None:
    """Arrays one after the other; None where a table has none."""
    there = [array for array in arrays if array is not None]
    return np.concatenate(there) if len(there) == len(arrays) else None


def _recode(codes: Codes, name: str, vocabulary: Vocabulary) -> npt.NDArray[np.int16]:
    index = {value: number for number, value in enumerate(vocabulary[name], start=1)}
    table = np.array([-1, 0, *(index[value] for value in codes.vocabulary[name])], dtype=np.int16)
    return table.take(codes.nominal[name] + np.int16(1))


def to_rows(codes: Codes) -> list[dict[str, str | float | None]]:
    """The rows as requests give them: a flat object of features each, None for a missing value."""
    columns: dict[str, list[str | float | None]] = {}
    for name, values in codes.nominal.items():
        texts = [None, *codes.vocabulary[name]]
        columns[name] = [texts[value] for value in values.tolist()]
    for name, numbers in codes.numeric.items():
        columns[name] = [None if number != number else number for number in numbers.tolist()]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
