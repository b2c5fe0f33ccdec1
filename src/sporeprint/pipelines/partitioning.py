"""Shares the rows of the cleaned table out to the parts of the split, and writes the split tables, in bounded memory.

One pass over the row hashes and labels finds the rows that repeat; one over the table writes each row to its part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from sporeprint.common.engine import Engine
from sporeprint.common.files import atomic_path
from sporeprint.common.optional_dependencies import Lazy
from sporeprint.data.data_summary import GroupCheck
from sporeprint.data.dataset import Observations
from sporeprint.data.parquet_store import BATCH_ROWS, Writer, keep_memory, read_tables, to_arrow
from sporeprint.data.part_files import PartFile, part_files, part_path, write_manifest
from sporeprint.data.splitting import (
    EXACT_ROWS,
    CopyNumbers,
    Hashes,
    HashSet,
    check_counts,
    draws,
    group_parts,
    labelled_hashes,
    ordered_parts,
    parts,
    repeated,
)
from sporeprint.errors import DataError
from sporeprint.schema import DatasetSchema
from sporeprint.settings import Settings, SplitSettings

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
else:
    pa, pq = Lazy("pyarrow"), Lazy("pyarrow.parquet")

Parts = npt.NDArray[np.int8]

#: Files of the split; early_stop, calibration and threshold rows stand in `validation`.
FILES = ("train", "validation", "test")
#: Words of a column that names the parts, beside the parts' own names.
PART_WORDS = {"training": "train", "val": "validation", "valid": "validation", "dev": "validation", "testing": "test"}


@dataclass(frozen=True)
class SplitKeys:
    """What the split column holds of some rows.

    Attributes:
        row: int64 [n], the row's number in the source.
        key: float64 [n]: with by: time, the time; with by: column, the place of the row's word in `words`.
        words: the words of by: column, in the order of their numbers.
    """

    row: npt.NDArray[np.int64]
    key: npt.NDArray[np.float64]
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Partition:
    """How the rows were shared out.

    Attributes:
        counts: int64 [2, parts], rows of the negative and of the positive class in each part.
        copies: rows that are exact copies of an earlier one, label included.
        repeats: rows whose features are those of an earlier one.
        dropped: copies that were dropped.
    """

    counts: npt.NDArray[np.int64]
    copies: int
    repeats: int
    dropped: int


def split_keys(frame: pl.DataFrame, split: SplitSettings) -> SplitKeys | None:
    """The split column of good rows; None where rows or groups are shared out.

    Raises:
        DataError: a time that is neither a number nor an ISO date.
    """
    if split.column is None:
        return None
    row, column = frame["_row"].to_numpy(), frame[split.column]
    if split.by == "time":
        return SplitKeys(row, _times(column))
    texts = column.cast(pl.String).str.strip_chars().str.to_lowercase()
    words = tuple(sorted(texts.drop_nulls().unique()))
    key = texts.replace_strict(list(words), list(range(len(words))), return_dtype=pl.Float64).to_numpy() if words else np.empty(0)
    return SplitKeys(row, key, tuple(PART_WORDS.get(word, word) for word in words))


def _times(column: pl.Series) -> npt.NDArray[np.float64]:
    if column.dtype.is_temporal():
        return column.cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64).to_numpy()
    texts = column.cast(pl.String).str.strip_chars()
    numbers = texts.cast(pl.Float64, strict=False)
    if numbers.null_count():
        numbers = texts.str.to_datetime(time_unit="us", strict=False, time_zone="UTC").cast(pl.Int64).cast(pl.Float64)
    if numbers.null_count():
        value = texts.filter(numbers.is_null())[0]
        raise DataError(f"split.column: {column.name!r} holds {value!r}, which is neither a number nor an ISO date such as 2026-03-29")
    return numbers.to_numpy()


def share_out(
    settings: Settings,
    folder: Path,
    metadata: Mapping[str, str],
    groups: GroupCheck,
    rows: int,
    keys: Sequence[SplitKeys],
    engine: Engine,
) -> Partition:
    """Write the split tables of `processed.parquet`; drop exact copies from it where validation does.

    Args:
        settings: the configuration.
        folder: where the cleaned table lies and the split ones are written.
        metadata: notes of every file.
        groups: whether the groups hold.
        rows: rows of the cleaned table.
        keys: what the split column holds, batch by batch; empty where rows or groups are shared out.
        engine: what writes the split tables.

    Raises:
        DataError: a part lacks a class; no groups, where whole groups are to be shared out; a word that names no part.
    """
    schema, split, processed = settings.dataset, settings.split, folder / "processed.parquet"
    if split.by == "groups" and not groups.available:
        raise DataError(f"split.by: groups, but the table has none: {groups.reason}")
    again, repeats = repeated(lambda: _column(processed, "_row_hash"), rows)
    copied, copies = repeated(lambda: _labelled(processed, schema, HashSet(again)), repeats + len(again)) if repeats else (again, 0)
    drop = settings.validation.duplicates == "drop" and copies > 0
    if drop or (schema.groups is not None and not groups.available):
        _rewrite(processed, schema, metadata, keep_groups=groups.available, drop=copied if drop else None)
    part = _whole_table_parts(processed, settings, again, keys, grouped=groups.available)
    counts = _write_parts(processed, metadata, settings, part, again, engine)
    target = schema.target
    check_counts(counts, split.shares, (target.values[target.negative], target.values[target.positive]), by=split.by)
    return Partition(counts, copies, repeats, copies if drop else 0)


def _column(path: Path, name: str) -> Iterator[Hashes]:
    for each in part_files(path):
        with pq.ParquetFile(each) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[name]):
                yield batch[name].to_numpy()


def _labelled(path: Path, schema: DatasetSchema, again: HashSet) -> Iterator[Hashes]:
    """Hashes with the label of the rows that repeat: no other is an exact copy."""
    for rows, y in _label_batches(path, schema, ["_row_hash", schema.target.column]):
        hashes = rows["_row_hash"].to_numpy()
        repeating, _ = again.places(hashes)
        yield labelled_hashes(hashes[repeating], y[repeating])


def _rewrite(path: Path, schema: DatasetSchema, metadata: Mapping[str, str], *, keep_groups: bool, drop: Hashes | None) -> None:
    """Write the cleaned table anew: without later copies of equal rows, without groups that do not hold."""
    numbers = None if drop is None else CopyNumbers(drop)
    parts = []
    for file in part_files(path):
        rows = 0
        with atomic_path(file) as temporary, Writer(temporary, metadata) as writer:
            for table in read_tables(file, schema):
                first = table if numbers is None else table.take(numbers(labelled_hashes(table.row_hash, table.y)) == 0)
                writer.write(to_arrow(first if keep_groups else _ungrouped(first), schema))
                rows += len(first.y)
        parts.append(PartFile.of(file, rows))
    write_manifest(path, parts)


def _ungrouped(table: Observations) -> Observations:
    return Observations(table.codes, table.y, table.row, None, table.row_hash, table.part)


def _whole_table_parts(path: Path, settings: Settings, again: Hashes, keys: Sequence[SplitKeys], *, grouped: bool) -> Parts | None:
    """Every row's part; None for a table too long to be sorted, whose rows are shared out by their hash alone."""
    schema, split = settings.dataset, settings.split
    if split.by == "rows" and sum(pq.read_metadata(file).num_rows for file in part_files(path)) > EXACT_ROWS:
        return None
    numbers = CopyNumbers(again)
    drawn, labels, group, row = [], [], [], []
    for rows, y in _label_batches(path, schema, ["_row", "_row_hash", "_group", schema.target.column]):
        hashes = rows["_row_hash"].to_numpy()
        drawn.append(draws(hashes, numbers(hashes)))
        labels.append(y)
        row.append(rows["_row"].to_numpy())
        group.append(rows["_group"].to_numpy() if grouped else np.zeros(len(y), dtype=np.int64))
    draw, y, groups = np.concatenate(drawn), np.concatenate(labels), np.concatenate(group)
    if split.by == "rows":
        return parts(draw, y + 2 * groups, split.shares)
    if split.by == "groups":
        return group_parts(groups, y, split.shares, seed=split.seed)
    key = _key_of(np.concatenate(row), keys)
    return ordered_parts(key, split.shares) if split.by == "time" else _named_parts(key, keys, draw, y, split)


def _key_of(row: npt.NDArray[np.int64], keys: Sequence[SplitKeys]) -> npt.NDArray[np.float64]:
    """The split keys of the rows that are left, in the table's order. Of by: column, the numbers over the words of all batches."""
    words = _words(keys)
    place = [np.array([words.index(word) for word in each.words], dtype=np.float64) for each in keys]
    key = np.concatenate([table[each.key.astype(np.intp)] if each.words else each.key for table, each in zip(place, keys, strict=True)])
    keys_of_rows: npt.NDArray[np.float64] = key[np.searchsorted(np.concatenate([each.row for each in keys]), row)]
    return keys_of_rows


def _words(keys: Sequence[SplitKeys]) -> list[str]:
    return sorted({word for each in keys for word in each.words})


def _named_parts(key: npt.NDArray[np.float64], keys: Sequence[SplitKeys], draw: Hashes, y: Parts, split: SplitSettings) -> Parts:
    """The parts that a column names. What it names together (train, or validation) is shared out by the shares.

    Raises:
        DataError: a word that names no part.
    """
    words, shares = _words(keys), split.shares
    held_out = ("early_stop", "calibration", "threshold")
    detailed = {*held_out, "validation"}.intersection(words)
    meaning = {**{part: (part,) for part in shares}, "validation": held_out}
    if not detailed:
        meaning["train"] = ("train", *held_out)
    if unknown := [word for word in words if word not in meaning]:
        allowed = ", ".join((*shares, "validation"))
        raise DataError(f"split.column: {split.column!r} holds {unknown[0]!r}, which is no part; allowed are {allowed}")
    part_of_key = np.empty(len(key), dtype=np.int8)
    for number, word in enumerate(words):
        mine, names = np.flatnonzero(key == number), meaning[word]
        total = sum(shares[name] for name in names)
        drawn = parts(draw[mine], y[mine].astype(np.int64), {name: shares[name] / total for name in names})
        part_of_key[mine] = np.array([list(shares).index(name) for name in names], dtype=np.int8)[drawn]
    return part_of_key


@dataclass(frozen=True)
class ShareTask:
    """One file of the cleaned table, to be written to the split tables.

    Attributes:
        processed: the file.
        targets: for each of `FILES`, where its rows go.
        part: int8 [n], the part of each row.
        metadata: notes of every file.
        settings: the configuration.
    """

    processed: Path
    targets: tuple[Path, ...]
    part: Parts
    metadata: Mapping[str, str]
    settings: Settings


@dataclass(frozen=True)
class SharedRows:
    """What one file of the cleaned table became: the rows of each class (first axis) in each part (second), and the files."""

    counts: npt.NDArray[np.int64]
    processed: PartFile
    files: tuple[PartFile, ...]


def _write_parts(
    processed: Path, metadata: Mapping[str, str], settings: Settings, part: Parts | None, again: Hashes, engine: Engine
) -> npt.NDArray[np.int64]:
    """Write the split tables; the rows of each class (first axis) in each part (second)."""
    tables = [processed.with_name(f"{name}.parquet") for name in FILES]
    # Made one by one, while those before them are worked on.
    tasks = _share_tasks(processed, tables, metadata, settings, part, CopyNumbers(again))
    shared = list(engine.map(write_shares, tasks))
    write_manifest(processed, [each.processed for each in shared])
    for place, table in enumerate(tables):
        write_manifest(table, [each.files[place] for each in shared])
    counts: npt.NDArray[np.int64] = np.sum([each.counts for each in shared], axis=0)
    return counts


def _share_tasks(
    processed: Path, tables: Sequence[Path], metadata: Mapping[str, str], settings: Settings, part: Parts | None, numbers: CopyNumbers
) -> Iterator[ShareTask]:
    files, done = part_files(processed), 0
    for number, file in enumerate(files):
        rows = pq.read_metadata(file).num_rows
        mine = _by_hash(file, numbers, settings) if part is None else part[done : done + rows]
        yield ShareTask(file, tuple(part_path(table, number, len(files)) for table in tables), mine, metadata, settings)
        done += rows


def _by_hash(file: Path, numbers: CopyNumbers, settings: Settings) -> Parts:
    """The parts of rows that are shared out by their hash alone."""
    drawn = [parts(draws(hashes, numbers(hashes)), None, settings.split.shares) for hashes in _column(file, "_row_hash")]
    return np.concatenate(drawn) if drawn else np.empty(0, dtype=np.int8)


def write_shares(task: ShareTask) -> SharedRows:
    """Write the rows of one file of the cleaned table to the split tables.

    Rows are copied as Arrow has them: decoding and encoding them again would take twice as long.
    """
    keep_memory()
    shares = task.settings.split.shares
    counts, done = np.zeros((2, len(shares)), dtype=np.int64), 0
    file_of = np.array([FILES.index(_file_of(part)) for part in shares])
    with ExitStack() as stack:
        paths = [stack.enter_context(atomic_path(target)) for target in task.targets]
        writers = [stack.enter_context(Writer(path, task.metadata)) for path in paths]
        pool = stack.enter_context(ThreadPoolExecutor(len(FILES)))
        for rows, y in _label_batches(task.processed, task.settings.dataset):
            mine = task.part[done : done + len(y)]
            done += len(y)
            counts += np.bincount(y * len(shares) + mine, minlength=counts.size).reshape(counts.shape)
            marked = _with_part(rows, mine, tuple(shares))
            place = file_of[mine]
            masks = [pa.array(place == number) for number in range(len(FILES))]
            list(pool.map(lambda writer, mask, table=marked: writer.write(table.filter(mask)), writers, masks))
    sizes = np.bincount(file_of, weights=counts.sum(axis=0), minlength=len(FILES)).astype(int).tolist()
    files = tuple(PartFile.of(target, rows) for target, rows in zip(task.targets, sizes, strict=True))
    return SharedRows(counts, PartFile.of(task.processed, done), files)


def _file_of(part: str) -> str:
    return part if part in FILES else "validation"


def _label_batches(path: Path, schema: DatasetSchema, columns: list[str] | None = None) -> Iterator[tuple[pa.Table, npt.NDArray[np.int8]]]:
    """The cleaned table batch by batch as Arrow, and int8 [n], 1 for the positive class."""
    target = schema.target.column
    for each in part_files(path):
        with pq.ParquetFile(each, read_dictionary=[target, *schema.nominal]) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                classes = batch[target]
                positive = np.array([value == schema.target.positive for value in classes.dictionary.to_pylist()], dtype=np.int8)
                yield pa.Table.from_batches([batch]), positive.take(classes.indices.to_numpy())


def _with_part(rows: pa.Table, part: npt.NDArray[np.int8], names: tuple[str, ...]) -> pa.Table:
    column = pa.DictionaryArray.from_arrays(pa.array(part), pa.array(names))
    return rows.add_column(rows.column_names.index("_row_hash") + 1, "_part", column)
